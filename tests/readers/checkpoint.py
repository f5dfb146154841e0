"""Checkpoint folders: safetensors, and what the codes of compressed-tensors decode to, in numpy alone."""
import json, os, re, shutil
import numpy as np

DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "I8": "i1", "I32": "<i4", "I64": "<i8"}
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


def decoded(folder):
    """{name: fp32 array} of every floating-point tensor that a dense checkpoint of the folder would have."""
    stored = {name: value for path in files(folder) for name, value in tensors(path).items()}
    quantization, dense = config(folder).get("quantization_config"), {}
    for name, (dtype, array) in stored.items():
        linear, _, kind = name.rpartition(".")
        if kind in ("weight", "bias") and linear + ".weight_scale" not in stored:
            dense[name] = floats(dtype, array)
        if kind != "weight_scale":
            continue
        weights, scale, zero = scheme(quantization, linear), floats(dtype, array), 0.0
        if linear + ".weight_packed" in stored:
            bits, (rows, columns) = weights["num_bits"], stored[linear + ".weight_shape"][1].tolist()
            codes = unpacked(stored[linear + ".weight_packed"][1], columns, bits)
            if not weights["symmetric"]:
                zero = unpacked(stored[linear + ".weight_zero_point"][1].T, rows, bits).T
        else:
            codes = floats(*stored[linear + ".weight"])
        if weights["strategy"] == "group":
            scale, zero = (np.repeat(x, weights["group_size"], 1)[:, :codes.shape[1]] if np.ndim(x) else x for x in (scale, zero))
        dense[linear + ".weight"] = rounded((codes - zero) * scale, dtype)
    return dense


def sliced(source, folder, layers):
    """A checkpoint of the first blocks alone."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors*", "*.gguf"))
    kept = {name: value for path in files(source) for name, value in tensors(path).items()
            if not (match := re.match(r"model\.layers\.(\d+)\.", name)) or int(match[1]) < layers}
    write(os.path.join(folder, "model.safetensors"), kept)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({**config(source), "num_hidden_layers": layers}, file)


def flipped(source, folder, bit):
    """A copy in which one bit of one scale is another; counted from the lowest of its mantissa."""
    shutil.copytree(source, folder)
    for path in files(folder):
        for name, (_, _, first, _) in header(path).items():
            if name.endswith("weight_scale"):
                with open(path, "r+b") as file:
                    file.seek(first + bit // 8)
                    byte = file.read(1)[0]
                    file.seek(first + bit // 8)
                    file.write(bytes([byte ^ 1 << bit % 8]))
                return name
    raise SystemExit(f"{source} holds no scale")
