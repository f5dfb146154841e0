"""transformers reads exports of the small models of every family: dense, mixtures, and those that read images."""
import json, os, subprocess
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, CompressedTensorsConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from recipe import ALL

RECIPE = """[model]
path = "{model}"
[[step]]
use = "rtn"
{step}
[[export]]
use = "compressed-tensors"
path = "{folder}/packed"
[run]
work = "{folder}/run"
"""
TEXT = 'weight = { bits = 4, granularity = "channel" }\n'
# Two schemes, a linear that is kept and towers that are: readers must find all of them under their own names.
IMAGES = """weight = { bits = 4, group = 16 }
[[step.override]]
match = "*.1.mlp.*"
weight = { bits = 8 }
[[step.override]]
match = "*.0.*self_attn.q_proj"
keep = true
"""


@torch.no_grad()
def read_logits(folder, config, inputs, dequantize=False):
    kind = AutoModelForImageTextToText if "vision_config" in config else AutoModelForCausalLM
    how = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if dequantize else {}
    attention = "sdpa" if config["model_type"] == "falcon" else "eager"  # the plain one adds ALiBi twice
    model, report = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention, output_loading_info=True, **how)
    if report["missing_keys"] or report["mismatched_keys"]:
        raise SystemExit(f"{folder}: transformers misses {sorted(report['missing_keys'])[:4]}")
    if "image_grid_thw" in inputs:
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == model.config.image_token_id).int()
    return model.eval()(**inputs).logits


def exported(name, model, step, bench):
    """Runs a recipe over a small model: folder of the export, Swage's logits of it, and what they are of."""
    folder = os.path.join(bench.folder, name)
    os.mkdir(folder)
    with open(folder + "/recipe.toml", "w") as file:
        file.write(RECIPE.format(model=model, folder=folder, step=step))
    io, output = model + "/io.safetensors", folder + "/logits.safetensors"
    for arguments in (["run", folder + "/recipe.toml", "--quiet"],
                      ["forward", folder + "/packed", "--input", io, "--output", output]):
        subprocess.run([bench.swage, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    inputs = {key: value for key, value in load_file(io).items() if key != "logits" and not key.startswith("hidden_")}
    return folder + "/packed", load_file(output)["logits"], inputs


def compare_family(name, model, config, bench, table):
    images = "vision_config" in config
    folder, own, inputs = exported("family-" + name, model, IMAGES if images else TEXT, bench)
    # Falcon's linears are of a class that takes `weight` as it is, before compressed-tensors made it from packed codes.
    read = read_logits(folder, config, inputs, dequantize=config["model_type"] == "falcon")
    what = "logits with images, 2 schemes" if images else "logits"
    table.below(name, what, (own.reshape(read.shape) - read).abs().max().item(), 5e-5)


def compare_families(bench, table):
    """A run over each small model; its logits as Swage and as transformers compute them from the export. By default one of
    each `model_type`: the others differ in what their blocks compute, and their tensors are called alike."""
    root, seen = os.path.join(os.environ["SWAGE_SOURCE_DIR"], "tests", "data", "parity"), set()
    for name in sorted(os.listdir(root)):
        if not os.path.isdir(os.path.join(root, name)):
            continue
        with open(os.path.join(root, name, "config.json")) as file:
            config = json.load(file)
        kind = config["model_type"]
        if kind not in CONFIG_MAPPING or (kind in seen and not ALL):
            continue  # code of its own (InternLM2, MiniCPM), or read already
        seen.add(kind)
        compare_family(name, os.path.join(root, name), config, bench, table)
