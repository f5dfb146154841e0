"""GPTQModel and AutoRound read what Swage exports, and Swage reads what they write of a small model."""
import glob, os, shutil, sys

os.environ.update(TORCHDYNAMO_DISABLE="1", GPTQMODEL_CPU_WORKERS="2", TRANSFORMERS_VERBOSITY="error")
import torch
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from gptqmodel.utils.model_dequant import dequantize_model
from transformers import AutoModelForCausalLM
import checkpoint, gptq_files
from comparison import Table, divergence
from recipe import Workbench
from torch_models import greedy, logits

WRITTEN = {  # by GPTQModel; its own reader of files is asked what they mean
    "symmetric": {},
    "act-order": {"desc_act": True},
    "v2": {"sym": False, "format": "gptq_v2"},
    "v1-asymmetric": {"sym": False},
    "3-bits": {"bits": 3},
    "dynamic": {"dynamic": {r"+:.*\.down_proj": {"bits": 8, "group_size": 16}, r"-:.*\.0\..*o_proj": {}}},
}
ROUNDED = {  # by AutoRound: bits, symmetric, format
    "symmetric": (4, True, "auto_round"),
    "asymmetric": (4, False, "auto_round"),  # in AWQ's layout
    "3-bits-asymmetric": (3, False, "auto_round"),
    "gptqmodel": (4, False, "auto_round:gptqmodel"),
    "auto-gptq": (4, False, "auto_round:auto_gptq"),
}


def quantized(folder):
    """Names of weights that are, and the type that Swage rounds them to."""
    names = [name for path in checkpoint.files(folder) for name in checkpoint.header(path)]
    kind = gptq_files.kind_of(checkpoint.config(folder)["quantization_config"]) or "float16"
    return [name[:-7] + "weight" for name in names if name.endswith(".qweight")], gptq_files.TYPES[kind]


def by_gptqmodel(folder):
    """Its reader of files, which leaves code times scale in fp32 and knows no rules; else the model that it opens."""
    if "dynamic" in checkpoint.config(folder)["quantization_config"]:
        names, kind = quantized(folder)
        dtype = torch.bfloat16 if kind == "BF16" else torch.float16
        model = GPTQModel.load(folder, device="cpu", backend=BACKEND.GPTQ_TORCH, dtype=dtype).model
        return {name: model.get_submodule(name[:-7]).dequantize_weight().T.float().numpy() for name in names}
    dequantize_model(folder, folder + "-dense", target_dtype=torch.float32)
    read, (names, kind) = checkpoint.decoded(folder + "-dense"), quantized(folder)
    shutil.rmtree(folder + "-dense")
    return {**read, **{name: checkpoint.rounded(read[name], kind) for name in names}}


@torch.no_grad()
def by_auto_round(folder):
    """What its linears make of the columns of the unit matrix."""
    names, kind = quantized(folder)
    dtype = torch.bfloat16 if kind == "BF16" else torch.float16
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, device_map="cpu").eval()
    unit = {name: model.get_submodule(name[:-7]) for name in names}
    width = {name: getattr(module, "infeatures", None) or module.in_features for name, module in unit.items()}
    return {name: module(torch.eye(width[name], dtype=dtype)).T.float().numpy() for name, module in unit.items()}


def compare_model(case, packed, bench, table):
    """Logits and tokens of the model that each opens, in fp16."""
    if case.startswith("gptq"):
        model = GPTQModel.load(packed, device="cpu", backend=BACKEND.GPTQ_TORCH, dtype=torch.float16).model
    else:
        model = AutoModelForCausalLM.from_pretrained(packed, dtype=torch.float16, device_map="cpu").eval()
    table.logits(case, divergence(bench.logits(packed), logits(model, bench.ids)), 1e-4)
    table.greedy(case, bench.prompt, greedy(model), lambda ids: bench.logits(packed, ids), 0.02)


def only(expected, folder):
    names, _ = quantized(folder)
    return {name: expected[name] for name in names}


def compare_read(case, bench, table):
    folder = gptq_files.write(bench, case)
    packed = folder + "/packed"
    read = (by_gptqmodel if case.startswith("gptq") else by_auto_round)(packed)
    table.weights(case, only(gptq_files.decoded(packed), packed), read)
    if case in ("gptq-w4", "gptq-w4-asymmetric", "gptq-w8", "auto-round-w4-asymmetric"):
        compare_model(case, packed, bench, table)
    shutil.rmtree(folder)


def write_gptq(bench, name, keys):
    folder = bench.folder + "/" + name
    torch.manual_seed(7)
    windows = torch.randint(3, 256, (64, 64)).tolist()
    # Its own packer compiles C++ for a minute.
    config = QuantizeConfig(**{"bits": 4, "group_size": 32, "desc_act": False, "pack_impl": "original", **keys})
    model = GPTQModel.load(bench.model, config, device="cpu")
    model.quantize([{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in windows], batch_size=8)
    model.save(folder)
    return folder


def write_auto_round(bench, name, bits, symmetric, form):
    from auto_round import AutoRound
    from transformers import PreTrainedTokenizerFast
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=bench.model + "/tokenizer.json")
    model = AutoModelForCausalLM.from_pretrained(bench.model, dtype=torch.bfloat16)
    rounder = AutoRound(model, tokenizer, bits=bits, group_size=32, sym=symmetric, iters=0, device_map="cpu",
                        disable_opt_rtn=True)
    rounder.quantize_and_save(bench.folder + "/" + name, format=form)
    return glob.glob(bench.folder + "/" + name + "/**/config.json", recursive=True)[0].rpartition("/")[0]


def compare_written(name, folder, bench, table, read=None):
    """The tool's checkpoint: in numpy, by the tool, and the logits of Swage against those of the dense weights."""
    expected = gptq_files.decoded(folder)
    if read:
        table.weights(name, only(expected, folder), read)
    dense = bench.folder + "/" + name + "-dense"
    shutil.copytree(bench.model, dense, ignore=shutil.ignore_patterns("*.safetensors"))
    checkpoint.write(dense + "/model.safetensors", {key: ("F32", value) for key, value in expected.items()})
    table.logits(name + " read by Swage", divergence(bench.logits(dense), bench.logits(folder)), 1e-12)
    shutil.rmtree(dense)
    shutil.rmtree(folder)


def main(kind, folder):
    bench, table = Workbench(kind, folder, 64, 2), Table("GPTQModel 7.7 and AutoRound 0.16")
    for case in gptq_files.CASES:
        compare_read(case, bench, table)
    for name, keys in WRITTEN.items():
        path = write_gptq(bench, name, keys)
        compare_written("GPTQModel " + name, path, bench, table, by_gptqmodel(path))
    for name, keys in ROUNDED.items():
        compare_written("AutoRound " + name, write_auto_round(bench, "rounded-" + name, *keys), bench, table)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
