"""`range = "weighted"` against llama.cpp's own quantizer: Σ importance · error² of every matrix, under one importance for both.

Layers whose output and down projection are zero leave the hidden state as the embedding has it. With embeddings of ±1 the inputs of
query, key, value, gate and up are the norm's weights up to their sign: the importance of every column is known."""
import ctypes, json, os, sys
import gguf
import numpy as np
import checkpoint, llama_cpp, with_gguf
from comparison import Table

RECIPE = """[model]
path = "{model}"
[calibration]
source = "{source}"
samples = 2
length = 64
[[step]]
use = "rtn"
weight = {{ format = "{type}", range = "{range}" }}
[[export]]
use = "gguf"
path = "{folder}/gguf"
[run]
work = "{folder}/run"
verify_windows = 0
"""
TYPES = {576: ("q4_0", "q5_0", "q8_0", "iq4_nl"), 512: ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k")}
MOST = 1.001  # of llama.cpp's error
ROWS = {"self_attn.q_proj": 512, "self_attn.k_proj": 128, "self_attn.v_proj": 128, "mlp.gate_proj": 512, "mlp.up_proj": 512}


def bits(values):
    """fp32 to the bits of bf16, of what bf16 holds."""
    return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def made_up(width):
    """Layers of heavy-tailed weights: importances alike, uneven, and with few large ones."""
    random = np.random.default_rng(width)
    for spread, tail in ((0.0, 4), (1.0, 4), (1.0, 30), (2.0, 8)):
        importance = np.exp(spread * random.standard_normal(width)) * np.where(random.random(width) < 0.01, 100, 1)
        yield {name: 0.03 * random.standard_t(tail, (rows, width)) for name, rows in ROWS.items()}, importance


def of_model(width, layers=(0, 9, 29)):
    """Layers of a checkpoint, cut to `width`; what its norms multiply their inputs with tells the importance."""
    items = {}
    for path in checkpoint.files(os.environ["SWAGE_TEST_MODEL"]):
        items.update(checkpoint.tensors(path))
    for i in layers:
        part = lambda name: checkpoint.floats(*items[f"model.layers.{i}.{name}.weight"])
        weights = {name: np.resize(part(name)[:rows, :width], (rows, width)) for name, rows in ROWS.items()}
        yield weights, part("input_layernorm")[:width] ** 2


def write_model(folder, width, layers):
    os.mkdir(folder)
    with_gguf.small_model(folder + "/small")
    os.rename(folder + "/small/tokenizer.json", folder + "/tokenizer.json")
    config = {**checkpoint.config(folder + "/small"), "hidden_size": width, "intermediate_size": 512, "num_hidden_layers": len(layers),
              "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64}
    with open(folder + "/config.json", "w") as file:
        json.dump(config, file)
    words = np.random.default_rng(1).choice([-1.0, 1.0], (257, width))
    items = {"model.embed_tokens.weight": words, "lm_head.weight": 0.01 * words, "model.norm.weight": np.ones(width)}
    for i, (weights, importance) in enumerate(layers):
        named = {**weights, "self_attn.o_proj": np.zeros((width, 512)), "mlp.down_proj": np.zeros((width, 512)),
                 "input_layernorm": np.sqrt(importance), "post_attention_layernorm": np.sqrt(importance)}
        items.update({f"model.layers.{i}.{name}.weight": values for name, values in named.items()})
    items = {name: ("BF16", bits(values)) for name, values in items.items()}
    checkpoint.write(folder + "/model.safetensors", items)
    return {name: checkpoint.floats(*value) for name, value in items.items()}


def theirs(folder, kind, weight, importance):
    """What llama.cpp's quantizer makes of a matrix."""
    llama_cpp.load(folder)
    library = ctypes.CDLL("libggml-base.so.0")  # by its name, as it is loaded
    function = library.ggml_quantize_chunk
    function.restype, floats = ctypes.c_size_t, ctypes.POINTER(ctypes.c_float)
    function.argtypes = [ctypes.c_int, floats, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, floats]
    weight, importance = np.ascontiguousarray(weight, np.float32), np.ascontiguousarray(importance, np.float32)
    columns, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = np.zeros((len(weight), weight.shape[1] // columns * size), np.uint8)
    written = function(kind, weight.ctypes.data_as(floats), blocks.ctypes.data, 0, *weight.shape, importance.ctypes.data_as(floats))
    if written != blocks.nbytes:
        raise SystemExit(f"ggml_quantize_chunk wrote {written} of {blocks.nbytes} bytes")
    return gguf.quants.dequantize(blocks, kind)


def compare(folder, kind, range_, items, layers, table):
    """`items`: the tensors of the model at `folder`."""
    work = f"{folder}-{kind}-{range_}"
    os.mkdir(work)
    with open(work + "/recipe.toml", "w") as file:
        file.write(RECIPE.format(model=folder, folder=work, type=kind, range=range_,
                                 source=os.environ["SWAGE_SOURCE_DIR"] + "/configs/data/evaluation.txt"))
    with_gguf.swage("run", work + "/recipe.toml", "--quiet")
    read, shares = with_gguf.weights(work + "/gguf"), []
    for i, (weights, _) in enumerate(layers):
        for linear in weights:
            name = f"model.layers.{i}.{linear}.weight"
            norm = "input_layernorm" if "attn" in linear else "post_attention_layernorm"
            importance = items[f"model.layers.{i}.{norm}.weight"].astype(np.float64) ** 2
            other = theirs(folder, gguf.GGMLQuantizationType[kind.upper()], items[name], importance)
            ours, peer = (float((importance * (np.float64(items[name]) - values) ** 2).sum()) for values in (read[name], other))
            shares.append((ours / peer, f"{i}.{linear}"))
    worst, best = max(shares), min(shares)
    table.below(kind, "worst error / llama.cpp's", worst[0], MOST, worst[1])
    table.state(kind, "mean, and the best one's", float(np.mean([one for one, _ in shares])), f"{best[0]:.4g}, {best[1]}")


def main(kind, folder):
    table = Table(f"llama.cpp's quantizer, {kind} matrices")
    for width, types in TYPES.items():
        layers, model = list(of_model(width) if kind == "model" else made_up(width)), f"{folder}/{width}"
        items = write_model(model, width, layers)
        for one in types:
            compare(model, one, "weighted", items, layers, table)
        table.must_fail(f"{types[-1]} by the extremes", lambda: compare(model, types[-1], "minmax", items, layers, table))
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
