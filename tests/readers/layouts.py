"""What folders of awq, lmdeploy, mlc and ppl decode to, in numpy, written from these formats' documents: {name: fp32 array}."""
import json, os
import numpy as np
import checkpoint

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def nibbles(words):
    """[rows, words] to [rows, words * n]: unsigned codes of 4 bits, from the lowest one on."""
    bits = words.dtype.itemsize * 8
    unsigned = np.ascontiguousarray(words).view(f"u{words.dtype.itemsize}").astype(np.uint64)
    return np.stack([unsigned >> np.uint64(shift) & np.uint64(15) for shift in range(0, bits, 4)], 2).reshape(len(words), -1).astype(np.int64)


def grouped(values, width):
    """One number for each of `width` neighbours of a row."""
    return np.repeat(values, width, 1)


def product(codes, scales, dtype):
    return checkpoint.rounded(codes.astype(np.float32) * scales.astype(np.float32), dtype)


def awq(parts, config, name):
    def columns(words):  # [in, out]: nibble i of a word is its column AWQ_ORDER[i]
        codes = nibbles(words).reshape(len(words), -1, 8)
        back = np.empty_like(codes)
        back[:, :, AWQ_ORDER] = codes
        return back.reshape(len(words), -1)
    codes, zeros, scales = columns(parts["qweight"][1]), columns(parts["qzeros"][1]), parts["scales"][1]
    width = len(codes) // len(scales) if config["group_size"] == -1 else config["group_size"]
    return product((codes - np.repeat(zeros, width, 0)).T, np.repeat(scales, width, 0).T, "F16")


def lmdeploy(parts, config, name):
    return product(checkpoint.floats(*parts["weight"]), parts["scale"][1], "F32")


def group_quantized(codes, scales):
    """MLC's value; of negated scales a zero is negative, which equals the other."""
    return product(nibbles(codes) - 7, grouped(scales, 32), "F16") + np.float32(0)


def mlc(parts, config, name):
    return group_quantized(parts["q_weight"][1], parts["q_scale"][1])


def halves(rows, size):
    """Rows of heads whose neighbours rotate together, in the order of Hugging Face."""
    return rows.reshape(-1, size // 2, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def ppl(parts, config, name, size=16):
    weight = parts["qweight"][1]
    four = config["quant_data_type"] == "int4"
    codes = nibbles(weight.T).T if four else weight.astype(np.int64)
    zeros = parts["zeropoint"][1].astype(np.int64) if config["has_zeropoint"] else np.int64(8 if four else 0)
    scales, width = parts["scale"][1], config["group_size"] or codes.shape[1]
    scales = scales.reshape(len(codes), -1)
    if config["has_zeropoint"]:
        zeros = grouped(zeros.reshape(scales.shape), width)
    values = product(codes - zeros, grouped(scales, width), "F16")
    return halves(values, size) if name.endswith((".q_proj", ".k_proj")) else values


DECODERS = {"awq": ("qweight", awq), "smooth_quant": ("scale", lmdeploy), "mlc": ("q_weight", mlc), "ppl": ("qweight", ppl)}


def decoded(folder):
    config, modules, dense = checkpoint.config(folder)["quantization_config"], {}, {}
    mark, decode = DECODERS[config["quant_method"]]
    for path in checkpoint.files(folder):
        for name, value in checkpoint.tensors(path).items():
            module, _, part = name.rpartition(".")
            modules.setdefault(module, {})[part] = value
    for name, parts in modules.items():
        floats = [part for part in parts if mark not in parts or part == "bias"]
        dense.update({f"{name}.{part}": checkpoint.floats(*parts[part]) for part in floats})
        if mark in parts:
            dense[name + ".weight"] = decode(parts, config, name)
    return dense


def mlc_parameters(folder):
    """Every parameter as MLC-LLM reads it: bytes of files, by the places in tensor-cache.json."""
    with open(os.path.join(folder, "tensor-cache.json")) as file:
        shards = json.load(file)["records"]
    parameters = {}
    for shard in shards:
        with open(os.path.join(folder, shard["dataPath"]), "rb") as file:
            data = file.read()
        assert shard["format"] == "raw-shard" and shard["nbytes"] == len(data)
        for record in shard["records"]:
            first = record["byteOffset"]
            values = np.frombuffer(data[first:first + record["nbytes"]], {"uint32": "<u4", "float16": "<f2"}[record["dtype"]])
            parameters[record["name"]] = values.reshape(record["shape"])
    return parameters


def mlc_llama(folder, layers):
    """The dense weights of MLC's llama under Hugging Face's names; `layers`: {module: rows} of joined ones come from config.json."""
    config, parameters, dense = checkpoint.config(folder), mlc_parameters(folder), {}
    heads, kv, size = config["num_attention_heads"] * config["head_dim"], config["num_key_value_heads"] * config["head_dim"], config["intermediate_size"]
    joined = {"self_attn.qkv_proj": (("self_attn.q_proj", heads), ("self_attn.k_proj", kv), ("self_attn.v_proj", kv)),
              "mlp.gate_up_proj": (("mlp.gate_proj", size), ("mlp.up_proj", size))}
    for name, values in parameters.items():
        if name.endswith(".q_scale"):
            continue
        if not name.endswith(".q_weight"):
            dense[name] = values.astype(np.float32)
            continue
        module = name[:-len(".q_weight")]
        weight = group_quantized(values, parameters[module + ".q_scale"])
        tail = ".".join(module.split(".")[-2:])
        first = 0
        for member, rows in joined.get(tail, ((tail, len(weight)),)):
            dense[module[:-len(tail)] + member + ".weight"] = weight[first:first + rows]
            first += rows
        assert first == len(weight)
    assert len({name.split(".")[2] for name in dense if name.startswith("model.layers.")}) == layers
    return dense
