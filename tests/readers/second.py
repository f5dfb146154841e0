"""A second decoder, in numpy alone and written from the formats' descriptions, of checkpoints of quant_method "fp8" and
"modelopt" and of TensorRT-LLM's folders."""
import fnmatch, os
import numpy as np
import checkpoint
from checkpoint import E2M1, E4M3, floats, rounded

TRT_LINEARS = {"self_attn.q_proj": "attention.qkv", "self_attn.k_proj": "attention.qkv", "self_attn.v_proj": "attention.qkv",
               "self_attn.o_proj": "attention.dense", "mlp.gate_proj": "mlp.fc", "mlp.up_proj": "mlp.gate",
               "mlp.down_proj": "mlp.proj"}
TRT_OTHERS = {"transformer.vocab_embedding.weight": "model.embed_tokens.weight", "transformer.ln_f.weight": "model.norm.weight",
              "lm_head.weight": "lm_head.weight"}


def modules(tensors):
    found = {}
    for name, value in tensors.items():
        module, _, part = name.rpartition(".")
        found.setdefault(module, {})[part] = value
    return found


def row_pairs(packed):
    """Signed codes of 4 bits, two rows a byte, the upper one in the low half."""
    packed = packed.view(np.uint8)
    codes = np.stack([packed & 15, packed >> 4], 1).reshape(-1, packed.shape[1]).astype(np.int32)
    return np.where(codes > 7, codes - 16, codes).astype(np.float32)


def groups(scale, width):
    return np.repeat(scale.astype(np.float32), width, 1)


def fp8_linear(parts, quantization):
    codes = E4M3[parts["weight"][1]]
    if "weight_block_size" not in quantization:
        return codes * parts["weight_scale"][1]
    rows, columns = quantization["weight_block_size"]
    scale = np.repeat(np.repeat(parts["weight_scale_inv"][1], rows, 0), columns, 1)
    return codes * scale[:codes.shape[0], :codes.shape[1]]


def modelopt_linear(name, parts, quantization):
    own = quantization.get("quantized_layers", {}).get(name, quantization)
    algorithm, scale = own["quant_algo"], parts["weight_scale"]
    if algorithm == "FP8":
        return E4M3[parts["weight"][1]] * scale[1]
    if algorithm == "FP8_PER_CHANNEL_PER_TOKEN":
        return E4M3[parts["weight"][1]] * scale[1][:, None]
    if algorithm == "MXFP8":
        return rounded(E4M3[parts["weight"][1]] * groups(np.exp2(scale[1].astype(np.float32) - 127), 32), "BF16")
    if algorithm in ("W4A16_AWQ", "W8A8_SQ_PER_CHANNEL"):
        dtype = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}[quantization["scale_dtype"]]
    if algorithm == "W8A8_SQ_PER_CHANNEL":
        return rounded(parts["weight"][1].astype(np.float32) * scale[1][:, None], dtype)
    if algorithm == "W4A16_AWQ":
        return rounded(row_pairs(parts["weight"][1]) * groups(scale[1], own["group_size"]), dtype)
    packed = parts["weight"][1]
    codes = E2M1[np.stack([packed & 15, packed >> 4], 2).reshape(len(packed), -1)]
    return rounded(codes * groups(E4M3[scale[1]] * parts["weight_scale_2"][1], 16), "BF16")


def folder_linears(folder):
    """{name: fp32 array} of an fp8 or ModelOpt folder."""
    quantization, dense = checkpoint.config(folder)["quantization_config"], {}
    tensors = {name: value for path in checkpoint.files(folder) for name, value in checkpoint.tensors(path).items()}
    for name, parts in modules(tensors).items():
        dense.update({f"{name}.{part}": floats(*parts[part]) for part in ("weight", "bias") if part in parts})
        ignored = quantization.get("ignored_layers", quantization.get("ignore"))
        if "weight" not in parts or parts["weight"][0] in ("F32", "F16", "BF16"):
            continue
        if any(fnmatch.fnmatch(name, pattern) for pattern in ignored):
            raise SystemExit(f"{folder}: {name} is compressed, though the config says that it is not")
        if quantization["quant_method"] == "fp8":
            dense[name + ".weight"] = fp8_linear(parts, quantization)
        else:
            dense[name + ".weight"] = modelopt_linear(name, parts, quantization)
    return dense


def trt_linear(parts, quantization):
    algorithm, codes = quantization["quant_algo"], parts["weight"][1]
    if algorithm == "FP8":
        return E4M3[codes] * parts["weights_scaling_factor"][1]
    if algorithm == "W4A16_AWQ":
        assert (parts["prequant_scaling_factor"][1] == 1).all()
        return rounded(row_pairs(codes) * groups(parts["weights_scaling_factor"][1], quantization["group_size"]), "F16")
    assert (parts.get("smoother", ("", np.ones(1)))[1] == 1).all()
    return codes.astype(np.float32) * parts["per_channel_scale"][1].T


def trt_folder(folder):
    """{name: fp32 array} of a TensorRT-LLM folder under the names of a Llama of transformers."""
    config, dense = checkpoint.config(folder), {}
    ranks = [checkpoint.tensors(f"{folder}/rank{i}.safetensors") for i in range(config["mapping"]["tp_size"])]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    rows = [n * config["head_size"] // len(ranks) for n in (heads, kv_heads, kv_heads)]
    pieces = [modules(rank) for rank in ranks]
    for layer in range(config["num_hidden_layers"]):
        place = f"transformer.layers.{layer}."
        whole = {}
        for name in dict.fromkeys(TRT_LINEARS.values()):
            whole[name] = [trt_linear(rank[place + name], config["quantization"]) for rank in pieces]
        for linear, name in TRT_LINEARS.items():
            parts = whole[name]
            if name == "attention.qkv":
                at = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].index(linear)
                parts = [part[sum(rows[:at]):sum(rows[:at + 1])] for part in parts]
            axis = 1 if name in ("attention.dense", "mlp.proj") else 0
            dense[f"model.layers.{layer}.{linear}.weight"] = np.concatenate(parts, axis)
        for own, source in (("input_layernorm", "input_layernorm"), ("post_layernorm", "post_attention_layernorm")):
            dense[f"model.layers.{layer}.{source}.weight"] = floats(*ranks[0][f"{place}{own}.weight"])
    for own, source in TRT_OTHERS.items():
        parts = [floats(*rank[own]) for rank in ranks]
        dense[source] = np.concatenate(parts) if own.startswith("lm_head") else parts[0]
    return dense


def decoded(folder):
    return trt_folder(folder) if os.path.exists(folder + "/rank0.safetensors") else folder_linears(folder)
