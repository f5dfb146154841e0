"""Checkpoint folders: safetensors, and what the codes of compressed-tensors decode to, in numpy alone."""
import json, os, re, shutil
import numpy as np

DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "U8": "u1", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
E2M1 = np.array([sign * value for sign in (1, -1) for value in (0.0, 0.5, 1, 1.5, 2, 3, 4, 6)], np.float32)
E4M3 = np.array([(-1) ** (c >> 7) * (2.0 ** ((c >> 3 & 15) - 7) * (1 + (c & 7) / 8) if c & 0x78 else (c & 7) / 512)
                 for c in range(256)], np.float32)
E4M3[[0x7F, 0xFF]] = np.nan


def header(path):
    """{name: (dtype, shape, first byte in the file, bytes)} of a safetensors file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(size))
    entries.pop("__metadata__", None)
    return {name: (e["dtype"], e["shape"], 8 + size + e["data_offsets"][0], e["data_offsets"][1] - e["data_offsets"][0])
            for name, e in entries.items()}


def tensors(path):
    """{name: (dtype, array)}; bf16 and fp8 as their bits."""
    data = np.memmap(path, np.uint8, "r")
    return {name: (dtype, data[first:first + size].view(DTYPES[dtype]).reshape(shape))
            for name, (dtype, shape, first, size) in header(path).items()}


def write(path, items):
    """Writes {name: (dtype, array)}."""
    entries, first = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, array) in items.items():
        entries[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [first, first + array.nbytes]}
        first += array.nbytes
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in items.values():
            file.write(np.ascontiguousarray(array).tobytes())


def files(folder):
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".safetensors")]


def config(folder):
    with open(os.path.join(folder, "config.json")) as file:
        return json.load(file)


def floats(dtype, array):
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return E4M3[array] if dtype == "F8_E4M3" else array.astype(np.float32)


def rounded(values, dtype):
    """fp32 values rounded to dtype, half to even, as fp32."""
    if dtype == "BF16":
        bits = values.view(np.uint32)
        return (bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000).view(np.float32)
    return values.astype(DTYPES[dtype]).astype(np.float32)


def without_signs(items):
    """Of zeros: which zero a code stands for is no reader's business."""
    return {name: values + np.float32(0) for name, values in items.items()}


def unpacked(words, count, bits):
    """The first `count` codes of every row of a little-endian bit stream, as signed numbers."""
    stream = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
    codes = stream[:, :count * bits].reshape(len(words), count, bits) @ (1 << np.arange(bits))
    return codes.astype(np.float32) - 2 ** (bits - 1)


def scheme(quantization, linear):
    """The arguments of a linear's weights, None where it is not quantized."""
    def fits(pattern):
        return re.match(pattern[3:], linear) if pattern.startswith("re:") else pattern == linear
    if any(fits(pattern) for pattern in quantization["ignore"]):
        return None
    groups = quantization["config_groups"].values()
    for group in [g for g in groups if any(map(fits, g["targets"]))] + [g for g in groups if "Linear" in g["targets"]]:
        return group["weights"]


def spread(scale, weights, shape):
    """Scales or zero points as the weights have them: one for each, in [rows, columns]."""
    if weights["strategy"] == "block":
        scale = np.repeat(scale, weights["block_structure"][0], 0)
    width = weights["block_structure"][1] if weights["strategy"] == "block" else weights["group_size"]
    return np.repeat(scale, width, 1)[:shape[0], :shape[1]] if width else scale


def codes(parts, weights):
    """What a linear's codes say, before zero points and scales."""
    packed = parts.get("weight_packed")
    if packed is None:
        return floats(*parts["weight"])
    if packed[0] == "U8":  # two a byte, the first in the low half
        return E2M1[np.stack([packed[1] & 15, packed[1] >> 4], 2).reshape(len(packed[1]), -1)]
    return unpacked(packed[1], parts["weight_shape"][1][1], weights["num_bits"])


def zeros(parts, weights, rows):
    dtype, array = parts["weight_zero_point"]
    return unpacked(array.T, rows, weights["num_bits"]).T if dtype == "I32" else floats(dtype, array)


def scales(parts):
    """fp32 scales, and the type that code times scale is rounded to."""
    dtype, array = parts["weight_scale"]
    if dtype == "U8":  # powers of two
        return np.ldexp(np.float32(1), array.astype(np.int32) - 127), "BF16"
    if "weight_global_scale" in parts:
        return floats(dtype, array) / parts["weight_global_scale"][1], "BF16"
    return floats(dtype, array), dtype


def linear(parts, weights):
    """The dense weight of a linear, fp32 that some smaller type holds."""
    values, (scale, dtype) = codes(parts, weights), scales(parts)
    if not weights["symmetric"]:
        values = values - spread(zeros(parts, weights, len(values)), weights, values.shape)
    return rounded(values * spread(scale, weights, values.shape), dtype)


def decoded(folder):
    """{name: fp32 array} of every floating-point tensor that a dense checkpoint of the folder would have."""
    modules, quantization, dense = {}, config(folder).get("quantization_config"), {}
    for path in files(folder):
        for name, value in tensors(path).items():
            module, _, part = name.rpartition(".")
            modules.setdefault(module, {})[part] = value
    for name, parts in modules.items():
        dense.update({f"{name}.{part}": floats(*parts[part]) for part in ("weight", "bias") if part in parts})
        if "weight_scale" in parts:
            dense[name + ".weight"] = linear(parts, scheme(quantization, name))
    return dense


def sliced(source, folder, layers):
    """A checkpoint of the first blocks alone."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors*", "*.gguf"))
    kept = {name: value for path in files(source) for name, value in tensors(path).items()
            if not (match := re.match(r"model\.layers\.(\d+)\.", name)) or int(match[1]) < layers}
    write(os.path.join(folder, "model.safetensors"), kept)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({**config(source), "num_hidden_layers": layers}, file)


def flipped(source, folder, part, bit, mark="weight_scale"):
    """A copy in which one bit of the first `part` of a linear is another; counted from the lowest of its first number.
    A linear is what has a `mark`."""
    shutil.copytree(source, folder)
    for path in files(folder):
        entries = header(path)
        for name, (_, _, first, _) in entries.items():
            if name.endswith("." + part) and name.rpartition(".")[0] + "." + mark in entries:
                with open(path, "r+b") as file:
                    file.seek(first + bit // 8)
                    byte = file.read(1)[0]
                    file.seek(first + bit // 8)
                    file.write(bytes([byte ^ 1 << bit % 8]))
                return name
    raise SystemExit(f"{source} holds no {part}")
