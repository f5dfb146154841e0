"""transformers reads exports of models that read images: several schemes, linears and towers that are kept."""
import json, os, subprocess
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

MODELS = ("llava", "internvl_hf", "qwen2_vl", "qwen2_5_vl", "mllama")
RECIPE = """[model]
path = "{model}"
[[step]]
use = "rtn"
weight = {{ bits = 4, group = 16 }}
[[step.override]]
match = "*.1.mlp.*"
weight = {{ bits = 8 }}
[[step.override]]
match = "*.0.*self_attn.q_proj"
keep = true
[[export]]
use = "compressed-tensors"
path = "{folder}/packed"
[run]
work = "{folder}/run"
"""


@torch.no_grad()
def read_logits(folder, inputs):
    model, report = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                                output_loading_info=True)
    if report["missing_keys"] or report["mismatched_keys"]:
        raise SystemExit(f"{folder}: transformers misses {sorted(report['missing_keys'])[:4]}")
    if "image_grid_thw" in inputs:
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == model.config.image_token_id).int()
    return model.eval()(**inputs).logits


def compare_images(bench, table):
    """A run over each small model; its logits with images, as Swage and as transformers compute them from the export."""
    for name in MODELS:
        model = os.path.join(os.environ["SWAGE_SOURCE_DIR"], "tests", "data", "parity", name)
        folder = os.path.join(bench.folder, name)
        os.mkdir(folder)
        with open(folder + "/recipe.toml", "w") as file:
            file.write(RECIPE.format(model=model, folder=folder))
        io, output = model + "/io.safetensors", folder + "/logits.safetensors"
        for arguments in (["run", folder + "/recipe.toml", "--quiet"],
                          ["forward", folder + "/packed", "--input", io, "--output", output]):
            subprocess.run([bench.swage, *arguments], check=True, stdout=subprocess.DEVNULL)
        with open(folder + "/packed/config.json") as file:
            groups = len(json.load(file)["quantization_config"]["config_groups"])
        inputs = {key: value for key, value in load_file(io).items() if key != "logits" and not key.startswith("hidden_")}
        own, read = load_file(output)["logits"], read_logits(folder + "/packed", inputs)
        table.below(name, f"logits with images, {groups} schemes", (own.reshape(read.shape) - read).abs().max().item(), 5e-5)
