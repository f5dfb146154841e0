"""Exports of awq, lmdeploy, mlc and ppl in decoders of their own, and AWQ in compressed-tensors' converter."""
import json, os, shutil, subprocess, sys

os.environ.update(TRANSFORMERS_VERBOSITY="error", LOGURU_LEVEL="ERROR")
from compressed_tensors.entrypoints.convert import AutoAWQConverter, convert_checkpoint
import checkpoint, layouts
from comparison import Table, divergence
from recipe import Workbench

RECIPE = """[model]
path = "{model}"
[[step]]
use = "rtn"
{step}
[[export]]
use = "{exporter}"
path = "{folder}/packed"
[[export]]
use = "huggingface"
path = "{folder}/dense"
dtype = "{floats}"
[run]
work = "{folder}/run"
"""
KEEP = '[[step.override]]\nmatch = "model.layers.0.self_attn.*"\nkeep = true\n'
FP16 = ', scale_dtype = "fp16" }\n'
CASES = {  # exporter, step, tensors whose bits are changed in copies
    "awq": ("awq", "weight = { bits = 4, group = 32" + FP16, ("qweight", "qzeros", "scales")),
    "awq-asymmetric": ("awq", "weight = { bits = 4, group = 32, symmetric = false" + FP16 + KEEP, ("qweight", "qzeros", "scales")),
    "awq-rows": ("awq", 'weight = { bits = 4, granularity = "channel"' + FP16, ()),
    "lmdeploy-int8": ("lmdeploy", 'weight = { bits = 8, granularity = "channel" }\nactivation = { bits = 8 }\n', ("weight", "scale")),
    "lmdeploy-fp8": ("lmdeploy", 'weight = { format = "fp8-e4m3" }\nactivation = { format = "fp8-e4m3" }\n', ("weight", "scale")),
    "mlc": ("mlc", "weight = { bits = 4, group = 32" + FP16, ("q_weight", "q_scale")),
    "ppl-int4": ("ppl", "weight = { bits = 4, group = 32" + FP16, ("qweight", "scale")),
    "ppl-int8": ("ppl", "weight = { bits = 8, group = 32, symmetric = false" + FP16, ("qweight", "scale", "zeropoint")),
    "ppl-rows": ("ppl", 'weight = { bits = 4, granularity = "channel", symmetric = false' + FP16, ("zeropoint",)),
}
FAMILIES = ("qwen2", "qwen2_moe", "mixtral", "deepseek_v3", "gemma2", "phi3", "glm4", "falcon7b", "qwen2_5_vl", "llava", "opt", "internlm2")


def exported(case, bench, model=None):
    exporter, step, _ = CASES[case]
    folder = os.path.join(bench.folder, case if model is None else os.path.basename(model))
    os.mkdir(folder)
    with open(folder + "/recipe.toml", "w") as file:
        file.write(RECIPE.format(model=model or bench.model, step=step, exporter=exporter, folder=folder,
                                 floats="fp16" if exporter in ("mlc", "ppl") else "checkpoint"))
    done = subprocess.run([bench.swage, "run", folder + "/recipe.toml", "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{case}: swage ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return folder


def dense(folder):
    """The floats of a plain checkpoint."""
    return {name: checkpoint.floats(*value) for path in checkpoint.files(folder) for name, value in checkpoint.tensors(path).items()}


def flipped(source, folder, part):
    """A copy in which the lowest bit of the first `part` of a compressed linear is another."""
    mark = layouts.DECODERS[checkpoint.config(source)["quantization_config"]["quant_method"]][0]
    shutil.copytree(source, folder)
    for path in checkpoint.files(folder):
        entries = checkpoint.header(path)
        for name, (_, _, first, _) in entries.items():
            if name.endswith("." + part) and f"{name.rpartition('.')[0]}.{mark}" in entries:
                with open(path, "r+b") as file:
                    file.seek(first)
                    byte = file.read(1)[0]
                    file.seek(first)
                    file.write(bytes([byte ^ 1]))
                return
    raise SystemExit(f"{source} holds no {part}")


def converted(folder):
    """AWQ's codes as compressed-tensors understands them."""
    convert_checkpoint(folder, folder + "-converted", AutoAWQConverter.from_pretrained(folder))
    return checkpoint.decoded(folder + "-converted")


def foreign(folder):
    """A copy whose config.json says what AutoAWQ's own does, in its older words."""
    copy = folder + "-foreign"
    shutil.copytree(folder, copy)
    config = checkpoint.config(folder)
    own = config["quantization_config"]
    config["quantization_config"] = {"quant_method": "awq", "w_bit": 4, "q_group_size": own["group_size"], "zero_point": True, "version": "GEMM",
                                     "modules_to_not_convert": own["modules_to_not_convert"]}
    with open(copy + "/config.json", "w") as file:
        json.dump(config, file)
    return copy


def compare(case, bench, table):
    folder = exported(case, bench)
    packed, expected = folder + "/packed", dense(folder + "/dense")
    table.weights(case, expected, layouts.decoded(packed))
    if case == "mlc":
        table.weights("mlc, its parameters", expected, layouts.mlc_llama(packed, checkpoint.config(packed)["num_hidden_layers"]))
    if case in ("awq", "awq-asymmetric"):
        table.weights(case + ", converted", expected, converted(packed))
        table.logits(case + ", foreign", divergence(bench.logits(folder + "/dense"), bench.logits(foreign(packed))), 1e-9)
    # Dense, inputs are in floats.
    if not case.startswith("lmdeploy"):
        table.logits(case, divergence(bench.logits(folder + "/dense"), bench.logits(packed)), 1e-9)
    for part in CASES[case][2]:
        flipped(packed, folder + "/flipped", part)
        table.must_fail(f"{case} with one bit of one {part} flipped",
                        lambda: table.weights(case, expected, layouts.decoded(folder + "/flipped")))
        shutil.rmtree(folder + "/flipped")
    shutil.rmtree(folder)


def compare_family(name, bench, table):
    """Biases, experts, latent attention, joined linears, towers: every compressed linear is found under its name."""
    folder = exported("awq-rows", bench, os.path.join(os.environ["SWAGE_SOURCE_DIR"], "tests", "data", "parity", name))
    table.weights("awq-rows " + name, dense(folder + "/dense"), layouts.decoded(folder + "/packed"))
    shutil.rmtree(folder)


def main(kind, folder):
    bench = Workbench(kind, folder, 128, 2)
    table = Table(f"decoders of layouts, {kind} model")
    for case in CASES:
        compare(case, bench, table)
    for name in FAMILIES:
        compare_family(name, bench, table)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
