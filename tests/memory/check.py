#!/usr/bin/env python3
"""Compresses models of random weights with GPTQ and compares peak memory as they grow: a run needs room for a block, not for
a model. Prints both peaks; ends with 1 when the larger model needs more than 5 % beyond the smaller one.

    check.py dense 4 12        layers of the smaller and the larger model
"""
import os
import subprocess
import sys
import tempfile

LIMIT = 1.05
PIPELINE = """[model]
path = "model"
[calibration]
source = "model/calibration.json"
samples = 8
length = 128
[scheme]
weight = { bits = 4, group = 128 }
[[step]]
use = "gptq"
[[export]]
use = "compressed-tensors"
path = "packed"
[run]
work = "work"
threads = 1
verify_windows = 0
"""


def peak(swage, kind, layers):
    maker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "make_model.py")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, maker, kind, os.path.join(folder, "model"), "--layers", str(layers)], check=True)
        with open(os.path.join(folder, "run.toml"), "w") as out:
            out.write(PIPELINE)
        child = subprocess.Popen([swage, "run", "run.toml", "--quiet"], cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        if status != 0:
            raise SystemExit("the run of %d layers failed" % layers)
        print("%s, %d layers: peak %d MB, %.0f s of the processor" % (
            kind, layers, usage.ru_maxrss // 1000, usage.ru_utime + usage.ru_stime), flush=True)
        return usage.ru_maxrss


def main():
    kind, small, large = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    swage = os.path.join(os.environ["SWAGE_BUILD_DIR"], "bin", "swage")
    return 0 if peak(swage, kind, large) <= LIMIT * peak(swage, kind, small) else 1


if __name__ == "__main__":
    sys.exit(main())
