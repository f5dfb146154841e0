"""llama.cpp computes the logits of every family's small model from the file that the exporter gguf writes."""
import json, os, shutil
import numpy as np
import checkpoint, llama_cpp

RECIPE = """[model]
path = "{model}"
[[export]]
use = "gguf"
path = "{folder}/gguf"
floats = "f32"
[run]
work = "{folder}/run"
"""
FAMILIES = ("arcee", "bloom", "bloom_six_heads", "cohere", "cohere2", "deepseek_v2", "deepseek_v2_lite", "deepseek_v3", "ernie4_5", "exaone4",
            "falcon40b", "falcon7b", "falcon_one_norm", "gemma2", "gemma3_text", "glm", "glm4", "glm4_moe", "gpt_neox", "granite", "internlm2",
            "llama", "llama31", "llama_biased", "llama_linear", "llama_yarn", "minicpm", "mistral_sw", "mixtral", "nemotron", "olmo", "olmo2",
            "olmo3", "phi", "phi3", "phi4_mini", "qwen2", "qwen2_moe", "qwen2_windows", "qwen3", "qwen3_moe", "seed_oss", "smollm3", "stablelm",
            "stablelm_parallel", "starcoder2")
# llama.cpp looks gelu up in a table of fp16; all else agrees with Swage to the rounding of fp32.
GELU = ("bloom", "bloom_six_heads", "falcon40b", "falcon7b", "falcon_one_norm", "gemma2", "gemma3_text", "gpt_neox", "phi", "starcoder2")


def without(items, parts):
    return {name: value for name, value in items.items() if not any(part in name for part in parts)}


def blocks_in_order(items, chosen):
    """Block i of the result is block chosen[i]."""
    result = {name: value for name, value in items.items() if ".layers." not in name}
    for block, source in enumerate(chosen):
        prefix = f"model.layers.{source}."
        result.update({f"model.layers.{block}." + name[len(prefix):]: value for name, value in items.items() if name.startswith(prefix)})
    return result


def computable(name, config, items):
    """The model with what llama.cpp's graph does not compute changed to what it does."""
    if name.startswith("gemma"):
        config["query_pre_attn_scalar"] = config["head_dim"]
    if name in ("qwen2_moe", "qwen3_moe"):  # experts in every block
        chosen = [i for i in range(config["num_hidden_layers"]) if f"model.layers.{i}.mlp.gate.weight" in items]
        items = blocks_in_order(items, chosen)
        config.update(num_hidden_layers=len(chosen), mlp_only_layers=[], layer_types=None)
    if name == "arcee":
        items = without(items, (".bias",))
        config.update(attention_bias=False, mlp_bias=False)
    if name == "cohere":
        items = without(items, ("_norm.",))
        config["use_qk_norm"] = False
    if name == "cohere2":
        config.update(sliding_window_pattern=4, layer_types=None)
    if name == "olmo3":
        config["layer_types"] = None
    if name == "exaone4":
        config.update(sliding_window=None, layer_types=["full_attention"] * config["num_hidden_layers"])
    if name == "deepseek_v2":
        config.update(topk_method="greedy", n_group=1, topk_group=1)
    if name == "deepseek_v2_lite":  # known by its number of blocks
        items = blocks_in_order(items, [0] + [1 + i % 2 for i in range(26)])
        config["num_hidden_layers"] = 27
    return items


def copied(name, folder):
    source = os.path.join(os.environ["SWAGE_SOURCE_DIR"], "tests", "data", "parity", name)
    os.makedirs(folder)
    config = checkpoint.config(source)
    items = computable(name, config, checkpoint.tensors(source + "/model.safetensors"))
    with open(folder + "/config.json", "w") as file:
        json.dump(config, file)
    checkpoint.write(folder + "/model.safetensors", items)
    return source + "/io.safetensors"


def logits(swage, model, io, output):
    swage("forward", model, "--input", io, "--output", output)
    return np.array(checkpoint.tensors(output)["logits"][1], np.float32)


def compare(name, root, swage, table):
    folder = f"{root}/{name}"
    io = copied(name, folder + "/model")
    with open(folder + "/recipe.toml", "w") as file:
        file.write(RECIPE.format(model=folder + "/model", folder=folder))
    swage("run", folder + "/recipe.toml", "--quiet")
    own = logits(swage, folder + "/model", io, folder + "/own.safetensors")
    own = own.reshape(-1, own.shape[-1])
    read = logits(swage, folder + "/gguf", io, folder + "/read.safetensors").reshape(own.shape)
    table.below(name, "max |Δlogits| read back by Swage", np.abs(own - read).max(), 1e-5)
    path = next(folder + "/gguf/" + file for file in sorted(os.listdir(folder + "/gguf")) if file.endswith(".gguf"))
    ids = checkpoint.tensors(io)["input_ids"][1].reshape(-1)
    model = llama_cpp.Llama(root, path, len(ids) + 8, exact=True)
    length = min(len(ids), model.trained)  # the file's context ends where a window would begin
    found = model.logits(ids[:length])
    model.close()
    limit = 4e-3 if name in GELU else 2e-5
    table.below(name, f"max |Δlogits| of llama.cpp, {length} tokens", np.abs(own[:length] - found).max(), limit)
    shutil.rmtree(folder)


def compare_families(root, swage, table):
    for name in FAMILIES:
        compare(name, root, swage, table)
