"""AWQ checkpoints of two blocks in vLLM's CPU backend, which takes 4 bits with zero points."""
import os, shutil, subprocess
import checkpoint
from comparison import divergence

RECIPE = """[model]
path = "{model}"
[[step]]
use = "rtn"
weight = {{ bits = 4, group = {group}, symmetric = {symmetric}, scale_dtype = "fp16" }}
[[export]]
use = "awq"
path = "{folder}/awq"
[run]
work = "{folder}/run"
verify_windows = 0
"""


def compare_awq(bench, table, logits, compare_both):
    for symmetric in ("false", "true"):
        folder = os.path.join(bench.folder, f"awq-symmetric-{symmetric}")
        os.mkdir(folder)
        with open(folder + "/recipe.toml", "w") as file:
            file.write(RECIPE.format(model=bench.slice, group=bench.group, symmetric=symmetric, folder=folder))
        subprocess.run([bench.swage, "run", folder + "/recipe.toml", "--quiet"], check=True, stdout=subprocess.DEVNULL)
        name, own = f"awq symmetric={symmetric}", bench.logits(folder + "/awq")[:, :-1]
        compare_both(name, folder + "/awq", bench, table)
        if symmetric == "false":
            for path in checkpoint.files(folder + "/awq"):
                entries = checkpoint.header(path)
                first = next(first for tensor, (_, _, first, _) in entries.items() if tensor.endswith(".scales"))
                with open(path, "r+b") as file:  # the exponent of one scale
                    file.seek(first + 1)
                    byte = file.read(1)[0]
                    file.seek(first + 1)
                    file.write(bytes([byte ^ 8]))
            table.must_fail(f"{name} with one bit of one scale flipped", lambda: table.logits(
                name, divergence(own, logits(folder + "/awq", bench.ids[:1], "float16")), 1e-4))
        shutil.rmtree(folder)
