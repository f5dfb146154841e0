"""transformers and compressed-tensors read what Swage exports."""
import os, shutil, sys
from unittest.mock import patch

os.environ.update(TRANSFORMERS_VERBOSITY="error", LOGURU_LEVEL="ERROR", TQDM_DISABLE="1")
import torch
from compressed_tensors.entrypoints.convert import CompressedTensorsDequantizer, convert_checkpoint
from compressed_tensors.quantization.lifecycle import forward as lifecycle
from transformers import AutoModelForCausalLM, CompressedTensorsConfig, logging
import checkpoint
from comparison import Table, divergence, perplexity
from recipe import ACTIVATIONS, DENSE, PACKED, STEPS, Workbench


def opened(folder, dequantize):
    how = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if dequantize else {}
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **how)
    for kind in ("missing_keys", "mismatched_keys"):
        if report[kind]:
            raise SystemExit(f"{folder}: transformers reports {kind}: {sorted(report[kind])[:4]}")
    return model.eval()


def weights(model):
    return {name: value.detach().float().numpy() for name, value in model.state_dict().items() if value.is_floating_point()}


@torch.no_grad()
def logits(model, ids):
    return [model(torch.as_tensor(window)[None]).logits[0].float() for window in ids]


def plain_scales(value, args, module, global_scale=None):
    """Scales of dynamic int8 activations as Swage and vLLM take them: the largest code is 127."""
    scales = value.abs().amax(-1, keepdim=True) / 127
    return scales, torch.zeros_like(scales)


def dense_model(folder):
    """The model with dense weights, by the way that reads them."""
    if len(checkpoint.config(folder)["quantization_config"]["config_groups"]) == 1:
        return opened(folder, True)
    # transformers 5.23 dequantizes every module by the first group's scheme; the decompressor of
    # compressed-tensors goes by module.
    convert_checkpoint(folder, folder + "-dense", CompressedTensorsDequantizer(folder, dtype=torch.float32))
    return opened(folder + "-dense", False)


def compare(case, bench, table, flip):
    folder, run_perplexity = bench.run(case)
    packed = folder + "/" + PACKED
    expected, model = checkpoint.decoded(packed), dense_model(packed)
    table.weights(case, expected, weights(model))
    own, read = bench.logits(packed), logits(model, bench.ids)
    if case in ACTIVATIONS:
        effect = divergence(own, read)  # `model` computes with floats
        model = opened(packed, False)
        read = logits(model, bench.ids)
        if case == "int8-dynamic":
            # compressed-tensors simulates them with scales of amax / 127.5, the kernels of vLLM take amax / 127.
            table.state(case, "KL of 2 blocks, amax / 127.5", divergence(own, read), "compressed-tensors' own scales")
            with patch.object(lifecycle, "compute_dynamic_scales_and_zp", plain_scales):
                read = logits(model, bench.ids)
        table.below(case, "KL of 2 blocks to Swage's logits", divergence(own, read), effect / 10,
                    "a tenth of what quantized activations change")
    else:
        table.below(case, "KL to Swage's logits", divergence(own, read), 1e-6)
        table.perplexity(case, run_perplexity, perplexity(read, bench.ids))
    model = opened(folder + "/" + DENSE, False)
    table.weights(case + " dense", expected, weights(model))
    if flip:
        checkpoint.flipped(packed, folder + "/flipped", 0)
        table.must_fail(f"{case}: lowest bit of a scale flipped", lambda: table.weights(
            case, expected, weights(dense_model(folder + "/flipped"))))
    shutil.rmtree(folder)


def main(kind, folder):
    logging.disable_progress_bar()
    bench, table = Workbench(kind, folder), Table(f"transformers and compressed-tensors, fp32, {kind} model")
    for case in STEPS:
        compare(case, bench, table, flip=kind == "small" or case == "w4")
    return table.finish()


sys.exit(main(*sys.argv[1:]))
