#!/usr/bin/env python3
"""Compresses models of random weights with GPTQ and compares memory as they grow: a run needs room for a block, not for a
model. Ends with 1 when the larger model needs more than the smaller one:

* 5 % more in the fullest twentieth of the time. The peak itself is a matter of moments: the next block is read while one is worked
  on, and of more blocks the worst coincidence is worse (16 blocks of experts: 1067 to 1110 MB from run to run).
* 10 % more at the peak, which is less than what the further blocks take while they are worked on: nothing keeps them.

    check.py dense 4 12        layers of the smaller and the larger model
"""
import os
import resource
import subprocess
import sys
import tempfile
import time

USUAL_LIMIT, PEAK_LIMIT = 1.05, 1.10
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
        child = subprocess.Popen([swage, "run", "run.toml", "--quiet"], cwd=folder, stdout=subprocess.DEVNULL)
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
    return 0 if larger[0] <= USUAL_LIMIT * smaller[0] and larger[1] <= PEAK_LIMIT * smaller[1] else 1


if __name__ == "__main__":
    sys.exit(main())
