"""GPTQ's and AutoRound's checkpoints in numpy alone, as GPTQModel and AutoRound define them, and the recipes that make them."""
import os, re
import numpy as np
import checkpoint
from checkpoint import floats, rounded, unpacked

TYPES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
RECIPE = """[model]
path = "{model}"
[[step]]
use = "rtn"
{step}
[[export]]
use = "{exporter}"
path = "{folder}/packed"
{params}
[[export]]
use = "huggingface"
path = "{folder}/dense"
[run]
work = "{folder}/run"
verify_windows = 0
"""
MIXED = ('weight = { bits = 4, group = GROUP, scale_dtype = "fp16" }\n'
         '[[step.override]]\nmatch = "*.{q,k,v}_proj"\nweight = { bits = 8, granularity = "channel" }\n'
         '[[step.override]]\nmatch = "*.layers.1.mlp.down_proj"\nweight = { group = 16 }\n'
         '[[step.override]]\nmatch = "*.layers.1.mlp.{gate,up}_proj"\nkeep = true\n')
RULES = ('weight = { bits = 4, group = GROUP, scale_dtype = "fp16" }\n'
         '[[step.override]]\nmatch = "*.layers.0.self_attn.*"\nkeep = true\n'
         '[[step.override]]\nmatch = "*.{gate,up,down}_proj"\nweight = { group = 32 }\n')
SYMMETRIC = 'weight = { bits = BITS, group = GROUP, scale_dtype = "SCALES" }\n'
ASYMMETRIC = 'weight = { bits = BITS, group = GROUP, symmetric = false, scale_dtype = "SCALES" }\n'
CHANNEL = 'weight = { bits = BITS, granularity = "channel", scale_dtype = "SCALES" }\n'


def step(text, bits=4, scales="fp16"):
    return text.replace("BITS", str(bits)).replace("SCALES", scales)


SECOND = 'checkpoint_format = "gptq_v2"\n'
# name: (exporter, keys of the export, keys of the step)
CASES = {
    "gptq-w4": ("gptq", "", step(SYMMETRIC)),
    "gptq-w4-bf16": ("gptq", "", step(SYMMETRIC, scales="bf16")),
    "gptq-w4-v2": ("gptq", SECOND, step(SYMMETRIC)),
    "gptq-w4-asymmetric": ("gptq", "", step(ASYMMETRIC)),
    "gptq-w2-asymmetric": ("gptq", "", step(ASYMMETRIC, 2)),
    "gptq-w3": ("gptq", "", step(SYMMETRIC, 3)),
    "gptq-w3-asymmetric": ("gptq", "", step(ASYMMETRIC, 3)),
    "gptq-w8": ("gptq", "", step(CHANNEL, 8)),
    "gptq-w4-rules": ("gptq", "", RULES),
    "gptq-mixed": ("gptq", "", MIXED),
    "gptq-head": ("gptq", "", 'match = "*{_proj,head}"\n' + step(SYMMETRIC, 8)),
    "auto-round-w4": ("auto_round", "", step(SYMMETRIC, scales="bf16")),
    "auto-round-w4-asymmetric": ("auto_round", "", step(ASYMMETRIC)),
    "auto-round-w3": ("auto_round", "", step(SYMMETRIC, 3)),
    "auto-round-w5": ("auto_round", "", step(SYMMETRIC, 5)),
    "auto-round-awq": ("auto_round", 'packing = "auto_awq"', step(SYMMETRIC)),
    "auto-round-awq-asymmetric": ("auto_round", 'packing = "auto_awq"', step(ASYMMETRIC)),
    "auto-round-w4-rules": ("auto_round", "", RULES),
    "auto-round-mixed": ("auto_round", "", MIXED),
    "auto-round-head": ("auto_round", "", 'match = "*{_proj,head}"\n' + step(SYMMETRIC, 8)),
}


def write(bench, case):
    """Runs a recipe; returns its folder, with the exports `packed` and `dense`."""
    exporter, params, step = CASES[case]
    folder = os.path.join(bench.folder, case)
    os.mkdir(folder)
    with open(folder + "/recipe.toml", "w") as file:
        file.write(RECIPE.format(model=bench.model, step=step.replace("GROUP", str(bench.group)), exporter=exporter, params=params,
                                 folder=folder))
    bench._call("run", folder + "/recipe.toml", "--quiet")
    return folder


def gptq_rule(block, name):
    """What `dynamic` says of a module: overrides, None where it is kept."""
    for pattern, says in (block.get("dynamic") or {}).items():
        if re.match(pattern[2:] if pattern[:2] in ("+:", "-:") else pattern, name):
            return None if pattern.startswith("-:") else says
    return {}


def auto_round_rule(block, name):
    extra = block.get("extra_config") or {}
    says = extra.get(name) or next((says for key, says in extra.items() if re.search(key, name)), {})
    return None if says.get("bits", 0) >= 16 else says


def scheme(block, name):
    """(bits, group size or -1, are zero points stored minus one) of a module; None where it is kept."""
    automatic = block["quant_method"] == "auto-round"
    says = (auto_round_rule if automatic else gptq_rule)(block, name)
    if says is None:
        return None
    merged = {**block, **says}
    form = merged.get("checkpoint_format") or merged.get("format") or "gptq"
    less_one = merged.get("packing_format", "auto_round:auto_gptq") == "auto_round:auto_gptq" if automatic else form == "gptq"
    return merged["bits"], merged["group_size"], less_one


def dense(parts, bits, group, less_one, kind):
    middle = 2 ** (bits - 1)
    words, zeros = parts["qweight"][1], parts["qzeros"][1]
    count, rows = len(words) * 32 // bits, words.shape[1]
    codes = unpacked(words.T, count, bits) + middle
    points = (unpacked(zeros, rows, bits) + middle + less_one).T
    scales = floats(*parts["scales"]).T
    group = count if group == -1 else group
    order = parts["g_idx"][1] if "g_idx" in parts else np.arange(count) // group
    return rounded((codes - points[:, order]) * scales[:, order], TYPES.get(kind, parts["scales"][0]))


def dense_awq(parts, group, kind):
    """AutoAWQ's layout: neighbouring rows in words, the even ones of eight first."""
    def rows(words):
        return unpacked(words, words.shape[1] * 8, 4).reshape(len(words), -1, 8)[:, :, [0, 4, 1, 5, 2, 6, 3, 7]].reshape(len(words), -1).T
    codes, points, scales = rows(parts["qweight"][1]), rows(parts["qzeros"][1]), floats(*parts["scales"]).T
    order = np.arange(codes.shape[1]) // (codes.shape[1] if group == -1 else group)
    return rounded((codes - points[:, order]) * scales[:, order], TYPES.get(kind, parts["scales"][0]))


def kind_of(block):
    """The type that code times scale is rounded to, where the block says so: Swage's own keys."""
    return block.get("swage_scale_dtype") or (block.get("scale_dtype") if block["quant_method"] == "gptq" else None)


def decoded(folder):
    """{name: fp32 array} of every floating-point tensor that a dense checkpoint of the folder would have."""
    block, modules, tensors = checkpoint.config(folder)["quantization_config"], {}, {}
    for path in checkpoint.files(folder):
        for name, value in checkpoint.tensors(path).items():
            module, _, part = name.rpartition(".")
            modules.setdefault(module, {})[part] = value
    for name, parts in modules.items():
        tensors.update({f"{name}.{part}": floats(*parts[part]) for part in ("weight", "bias") if part in parts})
        if "qweight" in parts and block.get("packing_format") == "auto_round:auto_awq":
            tensors[name + ".weight"] = dense_awq(parts, scheme(block, name)[1], kind_of(block))
        elif "qweight" in parts:
            tensors[name + ".weight"] = dense(parts, *scheme(block, name), kind_of(block))
        elif "weight" in parts and name.endswith("proj") and scheme(block, name) is not None:
            raise SystemExit(f"{folder}: {name} is kept, but the config does not say so")
    return tensors


def joined_names(folder):
    """Modules that vLLM makes of several, with those that it makes them of, and the rule of each."""
    block, found = checkpoint.config(folder)["quantization_config"], []
    for layer in range(checkpoint.config(folder)["num_hidden_layers"]):
        for made, members in (("self_attn.qkv_proj", ("q_proj", "k_proj", "v_proj")), ("mlp.gate_up_proj", ("gate_proj", "up_proj"))):
            parent = f"model.layers.{layer}.{made.partition('.')[0]}."
            rules = [gptq_rule(block, parent + member) for member in members]
            if all(rule == rules[0] for rule in rules):
                found.append((parent + made.partition(".")[2], gptq_rule(block, f"model.layers.{layer}.{made}"), rules[0]))
    return found
