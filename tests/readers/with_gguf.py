"""llama.cpp reads what the exporter gguf writes: its Python package every tensor, its library the model."""
import glob, json, os, shutil, subprocess, sys
import gguf
import numpy as np
import checkpoint, gguf_families, llama_cpp
from comparison import STEPS, Table, divergence

RECIPE = """[model]
path = "{model}"
{steps}
[[evaluate]]
use = "perplexity"
source = "{text}"
length = {length}
windows = 2
[[export]]
use = "gguf"
path = "{folder}/gguf"
{params}
[[export]]
use = "huggingface"
path = "{folder}/dense"
dtype = "fp32"
[run]
work = "{folder}/run"
verify_windows = 1
"""
STEP = '[[step]]\nuse = "rtn"\nweight = {{ {} }}\n'
ENDS = '[[step]]\nuse = "rtn"\nname = "ends"\nmatch = "*embed_tokens"\nweight = { format = "q6_k" }\n'
CASES = {f"{name}": STEP.format(f'format = "{name}"') for name in (
    "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "mxfp4", "nvfp4")}
CASES.update({
    "floats": "",
    "integers": STEP.format('bits = 4, group = 64, symmetric = false, scale_dtype = "fp16"'),
    "int8": STEP.format('bits = 8, granularity = "channel", scale_dtype = "fp16"'),
    "ends": STEP.format('format = "q4_k"') + ENDS,
})
PARTS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj"}
NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
# llama.cpp rounds activations to 8 bits before it multiplies by blocks; with floats to 16, keys and values in any case.
LIMITS = {"floats": 1e-4}
ROUNDED = 2e-2
APART = {"floats": 0.05}  # logits, at most


def small_model(folder):
    """A llama whose sides 256 divides, with weights that give uneven logits."""
    os.mkdir(folder)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "torch_dtype": "bfloat16", "hidden_size": 256,
              "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
              "rope_theta": 10000.0, "max_position_embeddings": 128, "vocab_size": 257, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0}
    with open(os.environ["SWAGE_SOURCE_DIR"] + "/tests/data/bytes/tokenizer.json", encoding="utf-8") as file:
        tokenizer = json.load(file)
    tokenizer["model"]["vocab"]["ab"] = 256
    tokenizer["model"]["merges"] = ["a b"]
    for name, value in (("config", config), ("tokenizer", tokenizer)):
        with open(f"{folder}/{name}.json", "w", encoding="utf-8") as file:
            json.dump(value, file)
    random, items = np.random.default_rng(1), {}

    def add(name, shape, width, center=0.0):
        values = (center + width * random.standard_normal(shape)).astype(np.float32)
        items[name] = ("BF16", (values.view(np.uint32) >> 16).astype(np.uint16))
    add("model.embed_tokens.weight", (257, 256), 1)
    add("lm_head.weight", (257, 256), 0.15)
    add("model.norm.weight", 256, 0.1, 1)
    for i in range(2):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            add(f"model.layers.{i}.{norm}.weight", 256, 0.1, 1)
        for linear, shape in {"self_attn.q_proj": (256, 256), "self_attn.k_proj": (128, 256), "self_attn.v_proj": (128, 256),
                              "self_attn.o_proj": (256, 256), "mlp.gate_proj": (512, 256), "mlp.up_proj": (512, 256),
                              "mlp.down_proj": (256, 512)}.items():
            add(f"model.layers.{i}.{linear}.weight", shape, 0.08)
    checkpoint.write(folder + "/model.safetensors", items)
    return folder


def swage(*arguments):
    program = os.path.join(os.environ["SWAGE_BUILD_DIR"], "bin", "swage")
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"swage {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-3000:]}")


def files(folder):
    return sorted(glob.glob(folder + "/*.gguf"))


def in_order(values, heads):
    """Rows of query and key as transformers has them: llama.cpp puts the halves of a head between each other."""
    return values.reshape(heads, len(values) // heads // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)


def weights(folder):
    """{name of a Hugging Face checkpoint: fp32 values}, all of it by gguf-py."""
    read, factors, config = {}, {}, None
    for path in files(folder):
        reader = gguf.GGUFReader(path)
        if config is None:
            config = {key: field.contents() for key, field in reader.fields.items() if key.startswith("llama.")}
        for tensor in reader.tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            if tensor.name.endswith(".scale"):
                factors[tensor.name[:-6] + ".weight"] = values[0]
                continue
            heads = {"attn_q": "llama.attention.head_count", "attn_k": "llama.attention.head_count_kv"}.get(tensor.name.split(".")[-2])
            read[tensor.name] = in_order(values, config[heads]) if heads else values
    for name, factor in factors.items():
        read[name] = read[name] * factor
    named = {}
    for name, values in read.items():
        parts = name.split(".")
        named[NAMES.get(name) or f"model.layers.{parts[1]}.{PARTS[parts[2]]}.{parts[3]}"] = np.ascontiguousarray(values)
    return named


def dense(folder):
    return {name: checkpoint.floats(*value) for path in checkpoint.files(folder) for name, value in checkpoint.tensors(path).items()}


def flipped(folder, tensor, byte):
    """A copy in which one bit of a byte of a tensor is another."""
    copy = folder + "-flipped"
    shutil.copytree(folder, copy)
    for path in files(copy):
        found = [one for one in gguf.GGUFReader(path).tensors if one.name == tensor]
        for one in found:
            with open(path, "r+b") as file:
                file.seek(one.data_offset + byte)
                value = file.read(1)[0]
                file.seek(one.data_offset + byte)
                file.write(bytes([value ^ 1]))
    return copy


def windows(model, text, length, count):
    ids = np.array(model.tokens(text), np.int64)
    return ids[:length * count].reshape(count, length)


class Bench:
    def __init__(self, kind, folder):
        self.folder, self.kind = folder, kind
        self.model = small_model(folder + "/small") if kind == "small" else os.environ["SWAGE_TEST_MODEL"]
        source = os.environ["SWAGE_SOURCE_DIR"] + "/configs/data/evaluation.txt"
        with open(source, encoding="utf-8") as file:
            self.text = file.read()[:20000]
        self.source, self.length, self.count = source, *((64, 4) if kind == "small" else (128, 2))

    def export(self, case, steps, params=""):
        folder = f"{self.folder}/{case}"
        os.mkdir(folder)
        with open(folder + "/recipe.toml", "w") as file:
            file.write(RECIPE.format(model=self.model, folder=folder, steps=steps, params=params, text=self.source,
                                     length=self.length))
        swage("run", folder + "/recipe.toml", "--quiet")
        return folder

    def own_logits(self, folder, ids):
        checkpoint.write(self.folder + "/ids.safetensors", {"input_ids": ("I64", ids)})
        output = self.folder + "/logits.safetensors"
        swage("forward", folder, "--input", self.folder + "/ids.safetensors", "--output", output)
        return np.array(checkpoint.tensors(output)["logits"][1])


def compare(case, steps, bench, table, params="", damaged=()):
    folder = bench.export(case, steps, params)
    packed, expected = folder + "/gguf", dense(folder + "/dense")
    if case == "nvfp4":  # a factor beside the blocks: Swage divides by its inverse, and rounds to bf16
        read = weights(packed)
        apart = max(np.abs(read[name] - values).max() / np.abs(values).max() for name, values in expected.items())
        table.below(case, "max |Δw| of the largest weight", apart, 2 ** -8)
    elif case not in ("integers", "int8"):
        table.weights(case, checkpoint.without_signs(expected), checkpoint.without_signs(weights(packed)))
    else:  # rounded to fp16 as the run has them; llama.cpp does not round
        read = {name: values.astype(np.float16).astype(np.float32) if "proj" in name else values for name, values in weights(packed).items()}
        table.weights(case, expected, read)
    prompt = 32
    model = llama_cpp.Llama(bench.folder, files(packed)[0], max(bench.length, prompt + STEPS))
    ids = windows(model, bench.text, bench.length, bench.count)
    read = [model.logits(window) for window in ids]
    table.logits(case, divergence(bench.own_logits(packed, ids), read), LIMITS.get(case, ROUNDED))
    table.greedy(case, ids[0, :prompt].tolist(), model.greedy, lambda ids: bench.own_logits(packed, ids), APART.get(case, 0.3))
    model.close()
    for tensor, byte in damaged:
        copy = flipped(packed, tensor, byte)
        table.must_fail(f"{case} with a bit of byte {byte} of {tensor} flipped", lambda: table.weights(case, expected, weights(copy)))
        shutil.rmtree(copy)
    shutil.rmtree(folder)


def main(kind, folder):
    if kind == "families":
        table = Table("llama.cpp, small models of every family")
        gguf_families.compare_families(folder, swage, table)
        return table.finish()
    bench, table = Bench(kind, folder), Table(f"llama.cpp and gguf-py, {kind} model")
    if kind == "small":
        for case, steps in CASES.items():
            damaged = {"q4_0": (("blk.0.attn_q.weight", 0), ("blk.0.attn_q.weight", 7)), "q4_k": (("blk.1.ffn_down.weight", 4),)}.get(case, ())
            compare(case, steps, bench, table, damaged=damaged)
        compare("split", CASES["q8_0"], bench, table, 'shard_size = 1\nfloats = "f32"')
    else:
        mix = STEP.format('format = "q5_0"') + '[[step.override]]\nmatch = "*down_proj"\nweight = { format = "q4_k" }\n'
        for case, steps in (("q4_0", CASES["q4_0"]), ("mix", mix)):
            compare(case, steps, bench, table)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
