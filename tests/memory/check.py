#!/usr/bin/env python3
"""Compresses models of random weights with GPTQ and compares memory as they grow: a run needs room for a block, not for a
model. Ends with 1 when the larger model needs 5 % more than the smaller one, in the fullest twentieth of the time or at the
peak. Large tensors go back to the system when they are freed (MALLOC_MMAP_THRESHOLD_), so that what is compared is what the run
holds, and not how full its heap happens to be: that differs by as much from run to run.

    check.py dense 4 8        layers of the smaller and the larger model
"""
import os
import resource
import subprocess
import sys
import tempfile
import time

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


def resident(process):
    try:
        with open("/proc/%d/statm" % process.pid) as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def memory(swage, kind, layers):
    """What it holds in the fullest twentieth of the time at least, and at most, in bytes."""
    maker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "make_model.py")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, maker, kind, os.path.join(folder, "model"), "--layers", str(layers)], check=True)
        with open(os.path.join(folder, "run.toml"), "w") as out:
            out.write(PIPELINE)
        child = subprocess.Popen([swage, "run", "run.toml", "--quiet"], cwd=folder, stdout=subprocess.DEVNULL,
                                 env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "32768"})
        samples = []
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid != 0:
                break
            samples.append(resident(child))
            time.sleep(0.02)
        if status != 0:
            raise SystemExit("the run of %d layers failed" % layers)
        usual, peak = sorted(samples)[len(samples) * 19 // 20], usage.ru_maxrss * 1024
        print("%s, %d layers: %d MB, peak %d MB, %.0f s of the processor" % (
            kind, layers, usual // 1000000, peak // 1000000, usage.ru_utime + usage.ru_stime), flush=True)
        return usual, peak


def main():
    kind, small, large = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    swage = os.path.join(os.environ["SWAGE_BUILD_DIR"], "bin", "swage")
    larger, smaller = memory(swage, kind, large), memory(swage, kind, small)
    return 0 if all(more <= LIMIT * less for more, less in zip(larger, smaller)) else 1


if __name__ == "__main__":
    sys.exit(main())
