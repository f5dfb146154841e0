"""Recipes of fp8, ModelOpt, LightLLM and TensorRT-LLM exports: what each reader here compares."""
import os, shutil
import checkpoint
from recipe import RECIPE, Workbench

TENSOR = 'weight = { format = "fp8-e4m3", granularity = "tensor", share = "fused" }\n'
STATIC = 'activation = { format = "fp8-e4m3", granularity = "tensor", dynamic = false }\n'
CASES = {  # export, step
    "fp8-tensor": ('use = "fp8"', TENSOR + 'activation = { format = "fp8-e4m3" }\n'),
    "fp8-static": ('use = "fp8"', TENSOR + STATIC),
    "fp8-block": ('use = "fp8"', 'weight = { format = "fp8-e4m3", granularity = "block", block_rows = SIDE, block_columns = SIDE }\n'
                  'activation = { format = "fp8-e4m3", granularity = "group", group = SIDE }\n'),
    "modelopt-nvfp4-weights": ('use = "modelopt"', 'weight = { format = "nvfp4", tensor_scale = "multiplies" }\n'),
    "modelopt-fp8": ('use = "modelopt"', TENSOR + STATIC),
    "modelopt-rows": ('use = "modelopt"', 'weight = { format = "fp8-e4m3" }\nactivation = { format = "fp8-e4m3" }\n'),
    "modelopt-nvfp4": ('use = "modelopt"', 'weight = { format = "nvfp4", tensor_scale = "multiplies" }\n'
                       'activation = { format = "nvfp4", tensor_scale = "multiplies" }\n'),
    "modelopt-mxfp8": ('use = "modelopt"', 'weight = { format = "mxfp8" }\nactivation = { format = "mxfp8" }\n'),
    "modelopt-int8": ('use = "modelopt"', 'weight = { bits = 8, granularity = "channel", scale_dtype = "fp32" }\n'
                      'activation = { bits = 8, granularity = "tensor", dynamic = false }\n'),
    "modelopt-int4": ('use = "modelopt"', 'weight = { bits = 4, group = GROUP }\n'),
    "modelopt-mixed": ('use = "modelopt"', 'weight = { bits = 4, group = GROUP }\n'
                       '[[step.override]]\nmatch = "*.down_proj"\n'
                       'weight = { format = "nvfp4", tensor_scale = "multiplies" }\n'
                       '[[step.override]]\nmatch = "model.layers.0.self_attn.*"\nkeep = true\n'),
    "trtllm-fp8": ('use = "trtllm"\nranks = RANKS', TENSOR + STATIC),
    "trtllm-int4": ('use = "trtllm"\nranks = RANKS', 'weight = { bits = 4, group = GROUP, scale_dtype = "fp16" }\n'),
    "trtllm-int8": ('use = "trtllm"\nranks = RANKS', 'weight = { bits = 8, granularity = "channel" }\n'
                    'activation = { bits = 8 }\n'),
}


class Bench(Workbench):
    def __init__(self, kind, folder):
        super().__init__(kind, folder, 128, 2)
        heads = checkpoint.config(self.model)["num_key_value_heads"]
        self.side, self.ranks = (32, 2) if kind == "small" else (64, 3)
        if heads % self.ranks:
            raise SystemExit(f"{heads} heads do not divide by {self.ranks} ranks")

    def case(self, name, whole=False):
        """Runs a case over two blocks, or the whole model; returns its folder, with the exports `packed` and `dense`."""
        export, step = CASES[name]
        folder = os.path.join(self.folder, name)
        os.mkdir(folder)
        text = RECIPE.replace('use = "compressed-tensors"', export).format(
            model=self.model if whole else self.slice, step='use = "rtn"\n' + step, text=self.text, folder=folder, length=self.length,
            every=self.every, windows=self.windows, samples=2)
        for word, value in (("SIDE", self.side), ("GROUP", 16), ("RANKS", self.ranks)):
            text = text.replace(word, str(value))
        with open(folder + "/recipe.toml", "w") as file:
            file.write(text)
        self._call("run", folder + "/recipe.toml", "--quiet")
        return folder


def flipped(source, folder, part, bit):
    """A copy in which one bit of the first `part` of a linear is another; the name of that tensor."""
    shutil.copytree(source, folder)
    for path in checkpoint.files(folder):
        for name, (dtype, _, first, _) in checkpoint.header(path).items():
            if not name.endswith("." + part) or ".layers." not in name or "norm" in name or \
                    (part == "weight" and dtype in ("BF16", "F16", "F32")):
                continue
            with open(path, "r+b") as file:
                file.seek(first + bit // 8)
                byte = file.read(1)[0]
                file.seek(first + bit // 8)
                file.write(bytes([byte ^ 1 << bit % 8]))
            return name
    raise SystemExit(f"{source} holds no {part}")
