"""vLLM's kernels for 8-bit products on CPUs, made to compute what they say that they compute."""
from unittest.mock import patch
import torch
from vllm import _custom_ops as ops

CREATE, MULTIPLY = ops.create_onednn_scaled_mm, ops.onednn_scaled_mm


def multiplied_exactly(handler, codes, output, scale, zero, adjustment, bias):
    """codes · weights in whole numbers, times both scales: onednn_scaled_mm of symmetric activations."""
    weights, weight_scale = handler.exact
    product = codes.double() @ weights * weight_scale * scale.double().reshape(-1, 1)
    output.copy_(product if bias is None else product + bias.double())


def created_with_weights(weights, weight_scale, *rest):
    handler = CREATE(weights, weight_scale, *rest)
    handler.exact = weights.double(), weight_scale.double().reshape(1, -1)
    return handler


def products_saturate():
    """Whether oneDNN's products of 8 bits are wrong here. Without VNNI it adds 128 to the codes of the activations and sums
    pairs of products with VPMADDUBSW in 16 bits, where 255 · 127 + 255 · 127 is cut to 32767 (oneDNN's «Nuances of int8
    computations»). ONEDNN_MAX_CPU_ISA=AVX2 shows it on any processor."""
    codes, one = torch.full((16, 64), 127, dtype=torch.int8), torch.ones(32, 1)
    output = torch.empty(16, 32)
    handler = CREATE(codes[0].repeat(32, 1).t(), one, torch.float32, True, False, 32)
    sums = torch.full((1, 32), 127.0 * 64)
    MULTIPLY(handler, codes, output, torch.ones(16, 1), None, sums, None)
    return (output != 127.0 * 127 * 64).any().item()


def exact_products():
    """With it, vLLM still quantizes and scales by its own kernels; only the sum of products is computed here."""
    return patch.multiple(ops, create_onednn_scaled_mm=created_with_weights, onednn_scaled_mm=multiplied_exactly)


def without_amx():
    """Its kernels for AMX take no fp32 activations, and vLLM 0.32 chooses them all the same, then fails."""
    return patch.object(torch.cpu, "_is_amx_tile_supported", lambda: False)
