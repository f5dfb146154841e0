"""hqq, bitsandbytes (under transformers) and MLX read what Swage exports, and Swage reads what they write."""
import json, os, shutil, sys

os.environ.update(TRANSFORMERS_VERBOSITY="error")
import mlx.core as mx
import mlx_lm.utils as mlx_lm
import numpy as np
import torch
from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
from bitsandbytes.nn import Linear8bitLt
from hqq.core.quantize import HQQLinear, hqq_base_quant_config
from mlx_lm.generate import generate_step
from pathlib import Path
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from unittest.mock import patch
import checkpoint, torch_models
from comparison import Table, divergence
from recipe import Workbench

RECIPE = """[model]
path = "{model}"
[[step]]
{step}
[[export]]
use = "{exporter}"
path = "{folder}/packed"
[[export]]
use = "huggingface"
path = "{folder}/dense"
[run]
work = "{folder}/run"
verify_windows = 0
"""
ALL = 'use = "rtn"\nmatch = "{*_proj,model.embed_tokens,lm_head}"\n'
KEEP = '[[step.override]]\nmatch = "model.layers.1.mlp.*"\nkeep = true\n'
CASES = {  # exporter, step; what is flipped in copies: part, bit
    "mlx w4": ("mlx", 'use = "rtn"\nweight = { group = 64, scale_dtype = "fp32" }\n', (("scales", 20), ("biases", 20), ("weight", 1))),
    "mlx w3 zeros": ("mlx", 'use = "rtn"\nweight = { bits = 3, group = 32, symmetric = false, scale_dtype = "fp32" }\n', ()),
    "mlx affine": ("mlx", ALL + 'weight = { format = "affine", group = 64, scale_dtype = "bf16" }\n'
                   '[[step.override]]\nmatch = "*.down_proj"\nweight = { bits = 8, group = 32 }\n' + KEEP, (("biases", 4),)),
    "mlx mxfp4": ("mlx", ALL + 'weight = { format = "mxfp4" }\n', (("scales", 0),)),
    "mlx nvfp4": ("mlx", 'use = "rtn"\nweight = { format = "nvfp4", tensor_scale = "none" }\n', (("weight", 0),)),
    "mlx mxfp8": ("mlx", 'use = "rtn"\nweight = { format = "mxfp8" }\n[[step.override]]\nmatch = "*.down_proj"\n'
                  'weight = { format = "mxfp4" }\n', ()),
    "hqq w4": ("hqq", 'use = "rtn"\nweight = { group = 64, scale_dtype = "fp16" }\n', (("W_q", 1), ("scale", 2), ("zero", 9))),
    "hqq w3": ("hqq", 'use = "rtn"\nweight = { bits = 3, group = 32, symmetric = false }\n', ()),
    "hqq w2 floats": ("hqq", 'use = "rtn"\nweight = { bits = 2, group = 32, symmetric = false, zero = "float" }\n' + KEEP, ()),
    "hqq w8": ("hqq", 'use = "rtn"\nweight = { bits = 8, granularity = "channel" }\n', ()),
    "nf4": ("bitsandbytes", 'use = "rtn"\nweight = { format = "nf4", decoded = "fp32" }\n' + KEEP,
            (("weight", 0), ("weight.absmax", 8))),
    "nf4 nested": ("bitsandbytes", 'use = "rtn"\nmatch = "*{_proj,head}"\nweight = { format = "nf4", double_quant = true, decoded = "fp32" }\n',
                   (("weight.absmax", 0), ("weight.nested_absmax", 20))),
    "fp4 bf16": ("bitsandbytes", 'use = "rtn"\nweight = { format = "bnb-fp4" }\n', ()),
    "fp4 nested": ("bitsandbytes", 'use = "rtn"\nweight = { format = "bnb-fp4", double_quant = true, decoded = "fp16" }\n', ()),
    "int8": ("bitsandbytes", 'use = "rtn"\nweight = { bits = 8, granularity = "channel", scale_dtype = "fp16" }\n'
             'activation = { bits = 8 }\n', (("SCB", 16), ("weight", 0))),
}


def toy(bench):
    """Random weights, sides that every format cuts, everything in fp32."""
    config = {**checkpoint.config(bench.model), "hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "torch_dtype": "float32"}
    draw, hidden, inner = np.random.default_rng(7), 128, 256
    matrices = {"model.embed_tokens": (256, hidden), "lm_head": (256, hidden)}
    for layer in range(2):
        for name, shape in {"self_attn.q_proj": (128, hidden), "self_attn.k_proj": (64, hidden), "self_attn.v_proj": (64, hidden),
                            "self_attn.o_proj": (hidden, 128), "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
                            "mlp.down_proj": (hidden, inner)}.items():
            matrices[f"model.layers.{layer}.{name}"] = shape
    tensors = {name + ".weight": ("F32", draw.normal(0, 0.09, shape).astype(np.float32)) for name, shape in matrices.items()}
    norms = ["model.norm"] + [f"model.layers.{layer}.{norm}_layernorm" for layer in range(2) for norm in ("input", "post_attention")]
    tensors.update({name + ".weight": ("F32", draw.uniform(0.5, 1.5, hidden).astype(np.float32)) for name in norms})
    checkpoint.write(bench.model + "/model.safetensors", tensors)
    with open(bench.model + "/config.json", "w") as file:
        json.dump(config, file)


def floats(value):
    return value.detach().float().numpy()


# --- MLX ---

def mlx_model(folder):
    """Computing in fp32."""
    model = mlx_lm.load_model(Path(folder))[0]
    model.set_dtype(mx.float32)
    model.eval()
    return model


def mlx_logits(model, ids):
    return [torch.from_numpy(np.array(model(mx.array(window[None]))[0])) for window in ids]


def mlx_greedy(model):
    return lambda prompt, steps: [int(token) for token, _ in generate_step(mx.array(prompt), model, max_tokens=steps)]


def mlx_weights(folder):
    model, weights = mlx_model(folder), {}
    for name, module in model.named_modules():
        if "scales" in module:
            dtype = mx.float32 if module.get("biases") is None else None
            module = {"weight": mx.dequantize(module.weight, module.scales, module.get("biases"), module.group_size, module.bits,
                                              module.mode, dtype=dtype)}
        elif "weight" not in module:
            continue
        weights[name + ".weight"] = np.array(module["weight"].astype(mx.float32))
    return weights, lambda: mlx_logits(model, BENCH.ids), mlx_greedy(model)


# --- hqq ---

def hqq_modules(folder):
    """{linear: HQQLinear}, computing in fp32, and the other tensors."""
    tensors, linears = load_file(folder + "/model.safetensors"), {}
    for name in [name for name in tensors if name.endswith(".W_q")]:
        module = name[:-len(".W_q")]
        parts = {part[len(module) + 1:]: tensors.pop(part) for part in list(tensors) if part.startswith(module + ".")}
        linears[module] = HQQLinear(None, quant_config=None, compute_dtype=torch.float32, device="cpu", initialize=False)
        linears[module].load_state_dict(parts)
    return linears, tensors


def dense_model(state):
    """transformers' model with these weights."""
    model = AutoModelForCausalLM.from_pretrained(BENCH.model, dtype=torch.float32).eval()
    if model.config.tie_word_embeddings:
        state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    model.load_state_dict({name: torch.as_tensor(value).float() for name, value in state.items()})
    return model


def hqq_weights(folder):
    linears, rest = hqq_modules(folder)
    state = {**rest, **{name + ".weight": linear.dequantize() for name, linear in linears.items()}}
    model = dense_model(state)
    weights = {name: floats(value) for name, value in state.items()}
    return weights, lambda: torch_models.logits(model, BENCH.ids), torch_models.greedy(model)


# --- bitsandbytes ---

def bnb_model(folder, **options):
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **options)
    for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if report[kind]:
            raise SystemExit(f"{folder}: transformers reports {kind}: {sorted(report[kind])[:4]}")
    for parameter in model.parameters():  # where the file has 16 bits, these stay
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):  # else it multiplies in the type that the file names
            module.support_avx512bf16_for_cpu, module.compute_type_is_set, module.compute_dtype = False, True, torch.float32
    return model.eval()


def bnb_weights(folder):
    model, weights = bnb_model(folder), {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None:
            continue
        if hasattr(weight, "quant_state"):
            weight = dequantize_4bit(weight.data, weight.quant_state)
        elif weight.dtype == torch.int8:
            weight = int8_vectorwise_dequant(weight.data, weight.SCB)
        weights[name + ".weight"] = floats(weight)
    return weights, lambda: torch_models.logits(model, BENCH.ids), torch_models.greedy(model)


# --- comparison: each shows weights, logits, and the tokens that it goes on with ---

READERS = {"mlx": mlx_weights, "hqq": hqq_weights, "bitsandbytes": bnb_weights}
BENCH = None


def expected(folder):
    """Swage's dense weights, and the type in which each was rounded."""
    found = {}
    for path in checkpoint.files(folder):
        for name, (dtype, values) in checkpoint.tensors(path).items():
            found[name] = (dtype, checkpoint.floats(dtype, values))
    return found


def compare_weights(table, name, dense, read):
    """Readers show fp32; what Swage rounded to 16 bits is compared in these."""
    rounded = {key: checkpoint.rounded(np.ascontiguousarray(value), dense[key][0]) if dense.get(key, ("F32",))[0] != "F32" else value
               for key, value in read.items()}
    table.weights(name, {key: value for key, (_, value) in dense.items()}, rounded)


def compare(case, table):
    exporter, step, damages = CASES[case]
    folder = os.path.join(BENCH.folder, case.replace(" ", "-"))
    os.mkdir(folder)
    with open(folder + "/recipe.toml", "w") as file:
        file.write(RECIPE.format(model=BENCH.model, step=step, exporter=exporter, folder=folder))
    BENCH._call("run", folder + "/recipe.toml", "--quiet")
    read = READERS[exporter]
    dense, (weights, *shown) = expected(folder + "/dense"), read(folder + "/packed")
    exact = case not in ("mlx w4", "mlx w3 zeros", "int8")
    if exact:
        compare_weights(table, case, dense, weights)
    else:  # the reader rounds twice in fp32, Swage once
        error = max(np.abs(weights[name] - value).max() / np.abs(value).max() for name, (_, value) in dense.items())
        table.below(case, "greatest error of a weight", error, 2e-3 if case == "int8" else 1e-6)
    compare_logits(table, case, folder + "/packed", weights, *shown)
    for part, bit in damages:
        flip(folder + "/packed", folder + "/flipped", part, bit)
        table.must_fail(f"{case} with bit {bit} of one {part} flipped",
                        lambda: compare_weights(table, case, {k: ("F32", v) for k, v in weights.items()}, read(folder + "/flipped")[0]))
        shutil.rmtree(folder + "/flipped")
    shutil.rmtree(folder)


# bitsandbytes and hqq multiply fp32 by codes times scales in fp32; Swage rounds these to the bf16 or fp16 of a dense weight first.
LIMITS = {"fp4 bf16": 1e-4, "hqq w4": 1e-5}


@torch.no_grad()
def compare_inputs(table, case, packed, weights):
    """Linears of LLM.int8 one by one, of inputs that fp16 holds, against weights and inputs rounded as Swage does."""
    worst = 0
    torch.manual_seed(7)
    for name, module in bnb_model(packed).named_modules():
        if isinstance(module, Linear8bitLt):
            inputs, weight = torch.randn(64, module.in_features).half().float(), torch.from_numpy(weights[name + ".weight"])
            scales = inputs.abs().amax(-1, keepdim=True) / 127
            own = (inputs / scales).round() * scales @ weight.T
            worst = max(worst, ((module(inputs) - own).norm() / (own - inputs @ weight.T).norm()).item())
    table.below(case, "error, of what 8 bits of inputs make", worst, 0.15)  # halves go either way


def compare_logits(table, case, packed, weights, logits, generate):
    own = BENCH.logits(packed)
    if case.endswith("int8"):
        # LLM.int8 rounds inputs to fp16 first: 1 code in 140 is another one, which the next blocks multiply.
        effect = divergence(own, torch_models.logits(dense_model(dict(weights)), BENCH.ids))
        table.noise(case, divergence(own, logits()), effect, None)
        compare_inputs(table, case, packed, weights)
    else:
        limit = LIMITS.get(case, 1e-6)
        table.logits(case, divergence(own, logits()), limit)
        table.greedy(case, BENCH.prompt, generate, lambda ids: BENCH.logits(packed, ids), 1e-3 if limit == 1e-6 else 0.05)


def flip(source, folder, part, bit):
    shutil.copytree(source, folder)
    path = checkpoint.files(folder)[0]
    entries = checkpoint.header(path)
    name = next(n for n in sorted(entries) if n.endswith("." + part) and ".up_proj." in n)
    with open(path, "r+b") as file:
        file.seek(entries[name][2] + bit // 8)
        byte = file.read(1)[0]
        file.seek(entries[name][2] + bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


# --- what the tools write ---

def written_by_mlx(folder, **how):
    model, config = mlx_lm.load_model(Path(BENCH.model))[:2]
    model, config = mlx_lm.quantize_model(model, config, how.pop("group_size", None), how.pop("bits", None), **how)
    os.mkdir(folder)
    shutil.copy(BENCH.model + "/tokenizer.json", folder)
    mlx_lm.save_model(folder, model)
    mlx_lm.save_config(config, folder + "/config.json")
    return mlx_weights(folder)


def written_by_hqq(folder, bits, axis):
    tensors = load_file(BENCH.model + "/model.safetensors")
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        linear = HQQLinear.from_weights(tensors.pop(name), None, hqq_base_quant_config(nbits=bits, group_size=64, axis=axis),
                                        compute_dtype=torch.float16, device="cpu")
        tensors.update({name[:-len("weight")] + part: torch.as_tensor(value).clone() for part, value in linear.state_dict().items()})
    os.mkdir(folder)
    for file in ("tokenizer.json", "config.json"):
        shutil.copy(f"{BENCH.model}/{file}", folder)
    save_file(tensors, folder + "/model.safetensors", {"format": "pt"})
    return hqq_weights(folder)


def written_by_bnb(folder, **how):
    model = bnb_model(BENCH.model, quantization_config=BitsAndBytesConfig(**how))
    model.save_pretrained(folder)
    shutil.copy(BENCH.model + "/tokenizer.json", folder)
    return bnb_weights(folder)


FOREIGN = {
    "mlx's affine": lambda folder: written_by_mlx(folder, group_size=32, bits=3),
    "mlx's mxfp4": lambda folder: written_by_mlx(folder, mode="mxfp4"),
    "mlx's nvfp4": lambda folder: written_by_mlx(folder, mode="nvfp4"),
    "mlx's mxfp8": lambda folder: written_by_mlx(folder, mode="mxfp8"),
    "hqq's 4 bits": lambda folder: written_by_hqq(folder, 4, 1),
    "hqq's 3 bits": lambda folder: written_by_hqq(folder, 3, 1),
    "hqq's axis 0": lambda folder: written_by_hqq(folder, 8, 0),
    "bnb's nf4": lambda folder: written_by_bnb(folder, load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "bnb's nested fp4": lambda folder: written_by_bnb(folder, load_in_4bit=True, bnb_4bit_use_double_quant=True),
    "bnb's storage": lambda folder: written_by_bnb(folder, load_in_4bit=True, bnb_4bit_quant_type="nf4",
                                                   bnb_4bit_quant_storage="bfloat16"),
    "bnb's int8": lambda folder: written_by_bnb(folder, load_in_8bit=True, llm_int8_threshold=0.0),
}


def main(kind, folder):
    global BENCH
    BENCH = Workbench(kind, folder, 128, 2)
    if kind == "small":
        toy(BENCH)
    table = Table("hqq 0.2.8, bitsandbytes 0.50 under transformers 5.23, MLX 0.32, fp32")
    only = os.environ.get("SWAGE_READER_CASES", "")
    for case in CASES:
        if only in case:
            # What rounds inputs differs more with every block.
            with patch.object(BENCH, "model", BENCH.slice if kind == "model" and case == "int8" else BENCH.model):
                compare(case, table)
    for case, write in FOREIGN.items() if kind == "small" else ():
        if only in case:
            compare_logits(table, case, folder + "/foreign", *write(folder + "/foreign"))
            shutil.rmtree(folder + "/foreign")
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
