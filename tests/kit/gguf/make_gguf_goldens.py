#!/usr/bin/env python3
"""Makes what the GGUF tests compare with. Needs numpy and the PyPI package `gguf`.

    make_gguf_goldens.py OUT.json [CHECKPOINT]

`types`: for each block type, values of made-up blocks as `gguf` decodes them. `smollm2`: the bfloat16 tensors of CHECKPOINT, the
safetensors file of SmolLM2-135M-Instruct converted from its GGUF file with the 4-bit grid kept.
"""
import json, struct, sys
import numpy as np
import gguf

VALUES = 65536
TYPES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
         11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 30: (1, 2), 39: (32, 17)}
MASKED = {10: (81, 83), 11: (109,), 39: (0,)}


def made_up_blocks(kind, count, size):
    """The generator of the C++ test; scales stay finite because their high bytes are masked."""
    state, out = kind, bytearray(count * size)
    for i in range(len(out)):
        state = (state * 6364136223846793005 + 1442695040888963407) & ((1 << 64) - 1)
        out[i] = state >> 56
        if i % size in MASKED.get(kind, (1, 3, 209)):
            out[i] &= 0x3B
    return np.frombuffer(bytes(out), np.uint8).reshape(count, size)


def digest(words):
    words = words.reshape(-1).astype(np.uint64)
    return int((words * (2 * np.arange(words.size, dtype=np.uint64) + 1)).sum(dtype=np.uint64))


def read_bf16(path):
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    data = np.memmap(path, np.uint8, "r", 8 + size)
    for name in sorted(n for n in header if n != "__metadata__"):
        begin, end = header[name]["data_offsets"]
        yield name, data[begin:end].view(np.uint16)


def main():
    types = {}
    for kind, (values, size) in TYPES.items():
        raw = made_up_blocks(kind, VALUES // values, size).reshape(256, -1)
        out = gguf.quants.dequantize(raw.view(np.float32) if kind == 0 else raw.view(np.float16) if kind == 1 else raw,
                                     gguf.GGMLQuantizationType(kind)).astype(np.float32)
        assert out.size == VALUES and np.isfinite(out).all()
        types[str(kind)] = {"digest": f"{digest(out.view(np.uint32)):016x}", "first": [float(v) for v in out.reshape(-1)[:4]]}
    golden = {"types": types}
    if len(sys.argv) == 3:
        total, count = 0, 0
        for _, words in read_bf16(sys.argv[2]):
            total, count = (total * 0x100000001B3 + digest(words)) & ((1 << 64) - 1), count + 1
        golden["smollm2"] = {"tensors": count, "digest": f"{total:016x}"}
    with open(sys.argv[1], "w") as file:
        json.dump(golden, file, indent=1)


main()
