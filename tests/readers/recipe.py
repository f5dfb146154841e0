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
WEIGHTS = {  # recipes without quantized activations; GROUP is the model's group size, SCALES the type of scales
    "w4": 'use = "rtn"\nweight = { bits = 4, group = GROUP, scale_dtype = "SCALES" }\n',
    "w4-asymmetric": 'use = "gptq"\norder = "activation"\n'
                     'weight = { bits = 4, group = GROUP, symmetric = false, scale_dtype = "SCALES" }\n' + KEEP,
    "w3-asymmetric": 'use = "rtn"\nweight = { bits = 3, group = GROUP, symmetric = false, scale_dtype = "SCALES" }\n',
    "w8": 'use = "rtn"\n' + INT8,
    "mixed": 'use = "rtn"\nweight = { bits = 4, group = GROUP, scale_dtype = "SCALES" }\n'
             '[[step.override]]\nmatch = "*.down_proj"\nweight = { bits = 8 }\n' + KEEP,
}
ACTIVATIONS = {
    "int8-dynamic": 'use = "rtn"\n' + INT8 + 'activation = { bits = 8 }\n',
    "int8-static": 'use = "rtn"\n' + INT8 + 'activation = { bits = 8, granularity = "tensor", dynamic = false }\n',
    "fp8-dynamic": 'use = "rtn"\n' + FP8 % "channel" + 'activation = { format = "fp8-e4m3" }\n',
    "int4-dynamic": 'use = "rtn"\nweight = { bits = 4, granularity = "channel", scale_dtype = "SCALES" }\n'
                    'activation = { bits = 4 }\n',
    "fp8-static": 'use = "rtn"\n' + FP8 % "tensor" +
                  'activation = { format = "fp8-e4m3", granularity = "tensor", dynamic = false }\n',
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
        checkpoint.sliced(self.model, self.slice, 2)
        self.ids = self._ids()

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
        step = {**WEIGHTS, **ACTIVATIONS}[case].replace("GROUP", str(self.group)).replace("SCALES", scales)
        text = RECIPE.format(model=self.model if whole and case not in ACTIVATIONS else self.slice, step=step, text=self.text, folder=folder,
                             length=self.length, every=self.every, windows=self.windows, samples=8 if ALL else 2)
        with open(folder + "/recipe.toml", "w") as file:
            file.write(text)
        self._call("run", folder + "/recipe.toml", "--quiet")
        with open(folder + "/run/result.json") as file:
            return folder, json.load(file)["metrics"]["perplexity"]["compressed"]["perplexity"]

    def logits(self, folder):
        """Swage's own logits of a checkpoint, [windows, tokens, vocabulary]."""
        output = os.path.join(self.folder, "logits.safetensors")
        self._call("forward", folder, "--input", self.folder + "/ids.safetensors", "--output", output)
        logits = np.array(checkpoint.tensors(output)["logits"][1])
        os.remove(output)
        return logits
