"""transformers and compressed-tensors read fp8 blocks and NVFP4 of ModelOpt; a second decoder reads all exports of these kinds."""
import os, shutil, sys

os.environ.update(TRANSFORMERS_VERBOSITY="error", LOGURU_LEVEL="ERROR")
import numpy as np
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.entrypoints.convert import FP8BlockDequantizer, ModelOptNvfp4Converter, convert_checkpoint
from compressed_tensors.quantization.quant_scheme import NVFP4, QuantizationScheme
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
import checkpoint, second
from comparison import Table, divergence
from nvidia import Bench, flipped
from torch_models import greedy, logits, weights

WHOLE = "fp8-block"
PARTS = {"fp8-tensor": ("weight", "weight_scale"), "fp8-static": ("weight_scale",), "fp8-block": ("weight", "weight_scale_inv"),
         "modelopt-fp8": ("weight_scale",), "modelopt-rows": ("weight_scale",),
         "modelopt-nvfp4": ("weight", "weight_scale", "weight_scale_2"), "modelopt-int4": ("weight", "weight_scale"),
         "modelopt-mixed": ("weight_scale_2",), "trtllm-fp8": ("weights_scaling_factor",),
         "trtllm-int4": ("weight", "weights_scaling_factor"), "trtllm-int8": ("weight", "per_channel_scale")}
# Scales in fp32 that came from bf16 or fp16 have nothing but zeros at their end; in bf16 a last place of fp32 is not seen.
BITS = {"fp8-block": {"weight_scale_inv": 18}, "modelopt-int4": {"weight_scale": 16}, "modelopt-nvfp4": {"weight_scale_2": 20}, "modelopt-mixed": {"weight_scale_2": 20}}


def bf16(tensors):
    return {name: checkpoint.rounded(values, "BF16") for name, values in tensors.items()}


def from_transformers(folder):
    """Blocks are made dense while they are loaded, in bf16."""
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, output_loading_info=True)
    for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if report[kind]:
            raise SystemExit(f"{folder}: transformers reports {kind}: {sorted(report[kind])[:4]}")
    for parameter in model.parameters():  # some kept ones come in fp32
        parameter.data = parameter.data.to(torch.bfloat16)
    return model.eval()


def compare_blocks(bench, table, packed, dense, expected):
    model = from_transformers(packed)
    table.weights("fp8-block transformers", bf16(expected), weights(model))
    # Codes times scales as floats: with `dense` transformers computes the same from weights that need no decoding.
    plain = AutoModelForCausalLM.from_pretrained(dense, dtype=torch.bfloat16).eval()
    table.below("fp8-block transformers", "KL to its own of the dense export",
                divergence(logits(plain, bench.ids), logits(model, bench.ids)), 1e-12)
    side = bench.side
    convert_checkpoint(packed, packed + "-ct", FP8BlockDequantizer(targets=["re:.*_proj$"], weight_block_size=(side, side),
                                                                  dtype=torch.float32))
    table.weights("fp8-block compressed-tensors", expected, checkpoint.decoded(packed + "-ct"))
    shutil.rmtree(packed + "-ct")


def compare_nvfp4(table, packed, expected):
    """What compressed-tensors' converter makes of it: it stores the reciprocal of the multiplier, which moves scales by a
    last place of fp32, so that bf16 may round to a neighbour."""
    tensors = ModelOptNvfp4Converter(targets=["re:.*_proj$"]).process(load_file(packed + "/model.safetensors"))
    compressor = BaseCompressor.get_value_from_registry("nvfp4-pack-quantized")
    scheme, worst, differing, count = QuantizationScheme(**NVFP4, targets=["Linear"]), 0.0, 0, 0
    for name in [n for n in tensors if n.endswith(".weight_packed")]:
        module = name.rpartition(".")[0]
        local = {p: tensors[f"{module}.{p}"] for p in ("weight_packed", "weight_scale", "weight_global_scale")}
        read = compressor.decompress(local, scheme)["weight"].float().numpy()
        own = expected[module + ".weight"]
        worst = max(worst, (np.abs(read - own) / np.maximum(np.abs(own), 1e-30))[own != 0].max())
        differing, count = differing + (read != own).sum(), count + own.size
    table.below("modelopt-nvfp4 compressed-tensors", "greatest relative difference", worst, 2 ** -7,
                f"{differing} of {count} weights, its reciprocal")


def compare_whole(bench, table):
    """Weights and logits of every block. transformers decodes to bf16, which Swage does not, and computes in fp32 here, inputs in
    floats as those of the dense export."""
    folder = bench.case(WHOLE, whole=True)
    packed, dense = folder + "/packed", folder + "/dense"
    expected, model = checkpoint.decoded(dense), from_transformers(packed).float()
    table.weights(WHOLE, bf16(expected), weights(model))
    table.logits(WHOLE, divergence(bench.logits(dense), logits(model, bench.ids)), 1e-4)
    table.greedy(WHOLE, bench.prompt, greedy(model), lambda ids: bench.logits(dense, ids), 0.1)
    name = flipped(packed, folder + "/flipped", "weight_scale_inv", 18)
    table.must_fail(f"{WHOLE} with one bit of {name} flipped", lambda: table.weights(
        WHOLE, bf16(expected), weights(from_transformers(folder + "/flipped"))))
    shutil.rmtree(folder)


def compare(case, bench, table):
    folder = bench.case(case)
    packed, dense = folder + "/packed", folder + "/dense"
    expected = checkpoint.decoded(dense)
    table.weights(case + " second decoder", expected, second.decoded(packed))
    if case == "fp8-block":
        compare_blocks(bench, table, packed, dense, expected)
    if case == "modelopt-nvfp4":
        compare_nvfp4(table, packed, expected)
    for part in PARTS[case]:
        name = flipped(packed, folder + "/flipped", part, BITS.get(case, {}).get(part, 0))
        table.must_fail(f"{case} with one bit of {name} flipped", lambda: table.weights(
            case, expected, second.decoded(folder + "/flipped")))
        if case == "fp8-block":
            table.must_fail(f"{case} with one bit of {name} flipped", lambda: table.weights(
                case + " transformers", bf16(expected), weights(from_transformers(folder + "/flipped"))))
        shutil.rmtree(folder + "/flipped")
    shutil.rmtree(folder)


def main(kind, folder):
    bench, table = Bench(kind, folder), Table(f"fp8 and NVIDIA's formats, {kind} model")
    for case in PARTS:
        compare(case, bench, table)
    compare_whole(bench, table)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
