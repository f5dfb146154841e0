"""transformers and compressed-tensors read what Swage exports."""
import os, shutil, sys
from unittest.mock import patch

os.environ.update(TRANSFORMERS_VERBOSITY="error", LOGURU_LEVEL="ERROR")
import torch
from compressed_tensors.entrypoints.convert import CompressedTensorsDequantizer, convert_checkpoint
from compressed_tensors.quantization.lifecycle import forward as lifecycle
from transformers import AutoModelForCausalLM, CompressedTensorsConfig
import checkpoint
from comparison import Table, divergence, perplexity
from families import compare_families
from mixtures import compare_mixtures
from recipe import ACTIVATIONS, ALL, DAMAGES, FLOATS, WEIGHTS, Workbench
from torch_models import greedy, logits, weights


def opened(folder, dequantize):
    how = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if dequantize else {}
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **how)
    for kind in ("missing_keys", "mismatched_keys"):
        if report[kind]:
            raise SystemExit(f"{folder}: transformers reports {kind}: {sorted(report[kind])[:4]}")
    return model.eval()


def dense_model(folder):
    """The model with dense weights, read in the way that works."""
    if len(checkpoint.config(folder)["quantization_config"]["config_groups"]) == 1:
        return opened(folder, True)
    # transformers 5.23 would dequantize every module by one group's scheme; the decompressor goes by module.
    convert_checkpoint(folder, folder + "-decompressed", CompressedTensorsDequantizer(folder, dtype=torch.float32))
    return opened(folder + "-decompressed", False)


def quantized_model(folder):
    """The model as it is served, activations quantized. What transformers would do before the first pass is done here: it leaves
    weights of some formats in bf16, which a model in fp32 cannot multiply by."""
    model = opened(folder, False)
    model.hf_quantizer.compressor.decompress_model(model)
    for module in model.modules():
        if hasattr(module, "quantization_scheme"):
            module.weight.data = module.weight.data.float()
    return model


def kernel_scales(value, args, module, global_scale=None):
    """Scales of dynamic int8 activations as Swage and vLLM's kernels take them."""
    scales = value.abs().amax(-1, keepdim=True) / 127
    return scales, torch.zeros_like(scales)


def compare_activations(name, case, bench, table, packed, own, floats):
    effect, model = divergence(own, floats), quantized_model(packed)
    read = logits(model, bench.ids)
    if case == "int8-dynamic":  # compressed-tensors simulates these with scales of amax / 127.5
        table.noise(name + " /127.5", divergence(own, read), effect, None)
        with patch.object(lifecycle, "compute_dynamic_scales_and_zp", kernel_scales):
            read = logits(model, bench.ids)
    # transformers multiplies codes by scales in fp32, as kernels do. Swage rounds the product to the type of the scales;
    # where that is bf16, this alone gives many activations another code. With M / 7.5 the largest of every token lies on the
    # border of two codes: compressed-tensors in fp64 is 20 to 80 % of the effect off itself in fp32; with M / 7, 100 to 150 %.
    limit = 1 if case == "int4-dynamic" else 1 / 3
    table.noise(name, divergence(own, read), effect, None if name.endswith("bf16") else limit)


def compare(case, scales, bench, table, damaged, whole):
    folder, run_perplexity = bench.run(case, scales, whole)
    packed, name = folder + "/packed", case if scales == "auto" else f"{case} {scales}"
    expected, model = checkpoint.decoded(packed), dense_model(packed)
    table.weights(name, expected, weights(model))
    if case == "w4":
        table.weights(name + " dense", expected, weights(opened(folder + "/dense", False)))
    own, read = bench.logits(packed), logits(model, bench.ids)
    if case in ACTIVATIONS:
        compare_activations(name, case, bench, table, packed, own, read)
    else:
        table.logits(name, divergence(own, read), 1e-6)
        table.perplexity(name, run_perplexity, perplexity(read, bench.ids))
        table.greedy(name, bench.prompt, greedy(model), lambda ids: bench.logits(packed, ids), 1e-3)
    for part, bit in DAMAGES.get(case, ())[:None if damaged else 1]:
        checkpoint.flipped(packed, folder + "/flipped", part, bit)
        table.must_fail(f"{name} with bit {bit} of one {part} flipped", lambda: table.weights(
            name, expected, weights(dense_model(folder + "/flipped"))))
        shutil.rmtree(folder + "/flipped")
        shutil.rmtree(folder + "/flipped-decompressed", ignore_errors=True)
    shutil.rmtree(folder)


def main(kind, folder):
    bench = Workbench(kind, folder, *((128, 4) if kind == "small" else (512, 2) if ALL else (256, 2)))
    table = Table(f"transformers and compressed-tensors, fp32, {kind} model")
    cases = [(case, "auto") for case in (*WEIGHTS, *ACTIVATIONS)]  # auto: fp32 where activations are quantized
    for case, scales in cases + [("int8-dynamic", "bf16")] * ALL:
        if kind == "model" and case in (*FLOATS, "widths") and not ALL:
            continue  # the small model shows the same in a tenth of the time
        # Real weights in the whole model once; two blocks of it hold as many kinds of tensors.
        compare(case, scales, bench, table, damaged=kind == "small" or ALL, whole=ALL or case == "w4")
    if kind == "small":
        compare_families(bench, table)
        compare_mixtures(bench, table)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
