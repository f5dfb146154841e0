"""Who loads what of mixtures, and of Falcon: the table of docs/formats.md, tried on transformers and compressed-tensors."""
import json, os
from compressed_tensors.entrypoints.convert import CompressedTensorsDequantizer, convert_checkpoint
import torch
from families import exported, read_logits
from recipe import ALL

W4, A8 = 'weight = { bits = 4, granularity = "channel" }\n', "activation = { bits = 8 }\n"
W8, FP8 = 'weight = { bits = 8, granularity = "channel" }\n', 'weight = { format = "fp8-e4m3", granularity = "channel" }\n'
BLOCK = 'weight = { format = "fp8-e4m3", granularity = "block", block_rows = 32, block_columns = 32 }\n'
NVFP4, MXFP4, MXFP8 = (f'weight = {{ format = "{name}" }}\n' for name in ("nvfp4", "mxfp4", "mxfp8"))
HEAD = '[[step]]\nuse = "rtn"\nname = "head"\nmatch = "embed_out"\nweight = { bits = 8, granularity = "channel" }\n'
EXPERTS = 'match = "*.experts.*"\n'
ASYMMETRIC = 'weight = { bits = 4, granularity = "channel", symmetric = false }\n'


def override(match, what):
    return f'[[step.override]]\nmatch = "{match}"\n{what}'


# Name, step, whether transformers loads it as it is stored. What it does not load, compressed-tensors' own converter makes dense.
MIXTURES = (
    ("4 bits", W4, True),
    ("3 bits", 'weight = { bits = 3, granularity = "channel" }\n', True),
    ("8 bits", W8, True),
    ("fp8", FP8, True),
    ("fp8 in blocks", BLOCK, False),
    ("experts in nvfp4", EXPERTS + NVFP4, False),  # what a mixture has beside them is not always as wide as blocks are
    ("experts in mxfp4", EXPERTS + MXFP4, False),
    ("experts in mxfp8", EXPERTS + MXFP8, False),
    ("attention in 8 bits", W4 + override("*self_attn*", W8), True),
    ("shared experts in 8 bits", W4 + override("*shared_expert*", W8), True),
    ("all experts kept", W4 + override("*.experts.*", "keep = true\n"), True),
    ("experts kept in a layer, fp8", FP8 + override("*.1.*.experts.*", "keep = true\n"), True),
    ("experts kept in a layer, 4 bits", W4 + override("*.1.*.experts.*", "keep = true\n"), False),
    ("asymmetric", ASYMMETRIC, False),
    ("int8 activations", W8 + A8, False),
    ("layers of 4 and 8 bits", W4 + override("*.1.*.experts.*", W8), False),
)
FALCON = (("packed", W4, False), ("asymmetric", ASYMMETRIC, False), ("8 bits, one a byte", W8 + A8, True), ("fp8", FP8, True))


def difference(folder, own, config, inputs):
    """The greatest difference of logits, or nothing where transformers does not load the folder."""
    try:
        read = read_logits(folder, config, dict(inputs))
    except (RuntimeError, AttributeError):
        return None
    return (own.reshape(read.shape) - read).abs().max().item()


def compare_scheme(model, name, step, loads, bench, table):
    path = os.path.join(os.environ["SWAGE_SOURCE_DIR"], "tests", "data", "parity", model)
    with open(path + "/config.json") as file:
        config = json.load(file)
    folder, own, inputs = exported(f"{model}-{name}".replace(" ", "-"), path, step, bench)
    found = difference(folder, own, config, inputs)
    if "activation" in step:  # their scales are compared elsewhere
        table.below(model, f"{name}: loads, 1 is yes", abs((found is not None) - loads), 0)
    elif loads:
        table.below(model, name, float("nan") if found is None else found, 5e-5)
    else:  # garbage is as much as an error
        table.below(model, f"{name}: not loaded as stored", 0 if found is None or found > 1e-3 else 1, 0)
        if any(floats in step for floats in (NVFP4, MXFP4, MXFP8, BLOCK)):
            return  # the converter wants a scale of the embedding where floats stand in one group
        convert_checkpoint(folder, folder + "-dense", CompressedTensorsDequantizer(folder, dtype=torch.float32))
        found = difference(folder + "-dense", own, config, inputs)
        table.below(model, f"{name}: converted", float("nan") if found is None else found, 5e-5)


def compare_mixtures(bench, table):
    for model in ("deepseek_v3", "mixtral", "qwen2_moe") if ALL else ("deepseek_v3",):
        for name, step, loads in MIXTURES:
            if "shared" not in name or model != "mixtral":
                compare_scheme(model, name, step, loads, bench, table)
    compare_scheme("gpt_neox", "head, called otherwise", W4 + HEAD, True, bench, table)
    for name, step, loads in FALCON:
        compare_scheme("falcon7b", name, step, loads, bench, table)
