"""Recipes, and what Swage makes of them: checkpoints, perplexities, logits."""
import json, os, shutil, subprocess
import numpy as np
import checkpoint

RECIPE = """[model]
path = "{model}"
[calibration]
source = "{text}"
samples = {samples}
length = {length}
[[step]]
{step}
[[evaluate]]
use = "perplexity"
source = "{text}"
length = {length}
every = {every}
windows = {windows}
[[export]]
use = "compressed-tensors"
path = "{folder}/packed"
[[export]]
use = "huggingface"
path = "{folder}/dense"
[run]
work = "{folder}/run"
verify_windows = 0
"""
KEEP = '[[step.override]]\nmatch = "model.layers.0.self_attn.*"\nkeep = true\n'
INT8 = 'weight = { bits = 8, granularity = "channel", scale_dtype = "SCALES" }\n'
FP8 = 'weight = { format = "fp8-e4m3", granularity = "%s", scale_dtype = "SCALES" }\n'
BLOCK = 'weight = { format = "fp8-e4m3", granularity = "block", block_rows = BLOCK, block_columns = BLOCK, scale_dtype = "SCALES" }\n'
LINEARS = [f"{index}.{linear}" for index in (0, 1) for linear in (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")]


def widths():
    """Every width, symmetric and not: the 14 linears of two blocks, each in one of them; further blocks in 4 bits."""
    step = 'use = "rtn"\nweight = { bits = 4, group = GROUP, scale_dtype = "SCALES" }\n'
    kinds = [(bits, symmetric) for bits in range(2, 9) for symmetric in ("true", "false")]
    for linear, (bits, symmetric) in zip(LINEARS, kinds):
        step += f'[[step.override]]\nmatch = "*.layers.{linear}"\nweight = {{ bits = {bits}, symmetric = {symmetric} }}\n'
    return step


WEIGHTS = {  # recipes without quantized activations; GROUP is the model's group size, SCALES the type of scales
    "w4": 'use = "rtn"\nweight = { bits = 4, group = GROUP, scale_dtype = "SCALES" }\n',
    "w4-asymmetric": 'use = "gptq"\norder = "activation"\n'
                     'weight = { bits = 4, group = GROUP, symmetric = false, scale_dtype = "SCALES" }\n' + KEEP,
    "w3-asymmetric": 'use = "rtn"\nweight = { bits = 3, group = GROUP, symmetric = false, scale_dtype = "SCALES" }\n',
    "w8": 'use = "rtn"\n' + INT8,
    "mixed": 'use = "rtn"\nweight = { bits = 4, group = GROUP, scale_dtype = "SCALES" }\n'
             '[[step.override]]\nmatch = "*.down_proj"\nweight = { bits = 8 }\n' + KEEP,
    "widths": widths(),
    "nvfp4": 'use = "gptq"\nweight = { format = "nvfp4" }\n',
    "mxfp4": 'use = "gptq"\nweight = { format = "mxfp4" }\n',
    "mxfp8": 'use = "rtn"\nweight = { format = "mxfp8" }\n',
    "fp8-block": 'use = "rtn"\n' + BLOCK,
    "fp8-channel": 'use = "rtn"\n' + FP8 % "channel",
    "fp8-tensor": 'use = "rtn"\n' + FP8 % "tensor",
    "head": 'use = "rtn"\nmatch = "*{_proj,head}"\n' + FP8 % "channel",
    "head-floats": 'use = "rtn"\nweight = { format = "nvfp4" }\n[[step]]\nuse = "rtn"\nname = "head"\n'
                   'match = "lm_head"\nweight = { format = "mxfp8" }\n',
}
ACTIVATIONS = {
    "int8-dynamic": 'use = "rtn"\n' + INT8 + 'activation = { bits = 8 }\n',
    "int8-static": 'use = "rtn"\n' + INT8 + 'activation = { bits = 8, granularity = "tensor", dynamic = false }\n',
    "fp8-dynamic": 'use = "rtn"\n' + FP8 % "channel" + 'activation = { format = "fp8-e4m3" }\n',
    "int4-dynamic": 'use = "rtn"\nweight = { bits = 4, granularity = "channel", scale_dtype = "SCALES" }\n'
                    'activation = { bits = 4 }\n',
    "fp8-static": 'use = "rtn"\n' + FP8 % "tensor" +
                  'activation = { format = "fp8-e4m3", granularity = "tensor", dynamic = false }\n',
    "nvfp4-a4": 'use = "rtn"\nweight = { format = "nvfp4" }\nactivation = { format = "nvfp4" }\n',
    "mxfp4-a4": 'use = "rtn"\nweight = { format = "mxfp4" }\nactivation = { format = "mxfp4", scale_rule = "even" }\n',
    "mxfp8-a8": 'use = "rtn"\nweight = { format = "mxfp8" }\nactivation = { format = "mxfp8", scale_rule = "even" }\n',
    "fp8-block-a8": 'use = "rtn"\n' + BLOCK + 'activation = { format = "fp8-e4m3", granularity = "group", group = GROUP }\n',
}
FLOATS = ("nvfp4", "mxfp4", "mxfp8", "fp8-block", "head", "head-floats", "nvfp4-a4", "mxfp4-a4", "mxfp8-a8", "fp8-block-a8")
# Parts and bits that are changed in copies; whoever reads them has to see it.
DAMAGES = {
    "w4": (("weight_scale", 0), ("weight_packed", 0)),
    "widths": (("weight_zero_point", 0),),
    "nvfp4": (("weight_scale", 0), ("weight_packed", 0), ("weight_global_scale", 16)),
    "mxfp4": (("weight_scale", 0), ("weight_packed", 0)),
    "mxfp8": (("weight_scale", 0), ("weight", 0)),
    "fp8-block": (("weight_scale", 0), ("weight", 0)),
}


# The default proves each promise once, within minutes; SWAGE_READERS=all tries everything there is.
ALL = os.environ.get("SWAGE_READERS") == "all"


class Workbench:
    """A model, the windows of a text that everything is measured on, and a folder to work in."""

    def __init__(self, kind, folder, length, windows):
        source = os.environ["SWAGE_SOURCE_DIR"]
        self.swage, self.folder = os.path.join(os.environ["SWAGE_BUILD_DIR"], "bin", "swage"), folder
        self.length, self.windows, self.slice = length, windows, os.path.join(folder, "slice")
        if kind == "small":
            self.model, self.text, self.group, self.every = os.path.join(folder, "small"), "configs/data/evaluation.txt", 32, 7
            self.text = os.path.join(source, self.text)
            os.mkdir(self.model)
            for path in ("parity/llama/config.json", "parity/llama/model.safetensors", "bytes/tokenizer.json"):
                shutil.copy(f"{source}/tests/data/{path}", self.model)
        else:
            self.model, self.group, self.every = os.environ["SWAGE_TEST_MODEL"], 64, 102400 // length
            self.text = os.environ["SWAGE_TEST_DATA"] + "/wikitext-2/wiki.test.tokens"
        self.block = 48 if kind == "small" else 128  # neither divides all sides
        checkpoint.sliced(self.model, self.slice, 2)
        self.ids = self._ids()
        self.prompt = self.ids[0, :32].tolist()

    def _ids(self):
        from tokenizers import Tokenizer
        with open(self.text, encoding="utf-8", newline="") as file:
            text = file.read()
        ids = Tokenizer.from_file(self.model + "/tokenizer.json").encode(text, add_special_tokens=False).ids
        starts = range(0, len(ids) - self.length + 1, self.length * self.every)[:self.windows]
        windows = np.array([ids[first:first + self.length] for first in starts], np.int64)
        checkpoint.write(self.folder + "/ids.safetensors", {"input_ids": ("I64", windows)})
        return windows

    def _call(self, *arguments):
        done = subprocess.run([self.swage, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise SystemExit(f"swage {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-3000:]}")

    def run(self, case, scales, whole=True):
        """Runs a recipe; returns its folder, with the exports `packed` and `dense`, and its perplexity. Quantized
        activations magnify differences from block to block, so they are compared over two blocks only."""
        folder = os.path.join(self.folder, f"{case}-{scales}")
        os.mkdir(folder)
        step = {**WEIGHTS, **ACTIVATIONS}[case]
        for word, value in (("GROUP", self.group), ("BLOCK", self.block), ("SCALES", scales)):
            step = step.replace(word, str(value))
        text = RECIPE.format(model=self.model if whole and case not in ACTIVATIONS else self.slice, step=step, text=self.text, folder=folder,
                             length=self.length, every=self.every, windows=self.windows, samples=8 if ALL else 2)
        with open(folder + "/recipe.toml", "w") as file:
            file.write(text)
        self._call("run", folder + "/recipe.toml", "--quiet")
        with open(folder + "/run/result.json") as file:
            return folder, json.load(file)["metrics"]["perplexity"]["compressed"]["perplexity"]

    def logits(self, folder, ids=None):
        """Swage's own logits of a checkpoint, [windows, tokens, vocabulary]: of the text, or of `ids`."""
        source, output = self.folder + "/ids.safetensors", self.folder + "/logits.safetensors"
        if ids is not None:
            source = self.folder + "/other-ids.safetensors"
            checkpoint.write(source, {"input_ids": ("I64", np.asarray(ids, np.int64))})
        self._call("forward", folder, "--input", source, "--output", output)
        logits = np.array(checkpoint.tensors(output)["logits"][1])
        os.remove(output)
        return logits
