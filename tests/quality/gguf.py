#!/usr/bin/env python3
"""Measures SmolLM2-135M's checkpoint and the GGUF file beside it on four windows of WikiText-2: their perplexities agree within
0.1 % (docs/evaluation.md)."""
import glob
import json
import os
import subprocess
import sys
import tempfile

LIMIT = 1e-3
SKIPPED = 77


def perplexity(swage, model, work):
    folder = os.path.join(work, "run-" + os.path.basename(model))
    command = [swage, "eval", model, os.path.join(work, "eval.toml"), "--work", folder, "--threads", "1", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(folder, "result.json")) as source:
        return json.load(source)["metrics"]["perplexity"]["checkpoint"]["perplexity"]


def main():
    model, data = (os.environ.get(name, "") for name in ("SWAGE_TEST_MODEL", "SWAGE_TEST_DATA"))
    text = os.path.abspath(os.path.join(data, "wikitext-2", "wiki.test.tokens"))
    files = glob.glob(os.path.join(os.path.abspath(model), "*.gguf"))
    if not model or not data or not files or not os.path.exists(text):
        print("skipped: SWAGE_TEST_MODEL holds no GGUF file, or SWAGE_TEST_DATA no WikiText-2")
        return SKIPPED
    swage = os.path.join(os.environ["SWAGE_BUILD_DIR"], "bin", "swage")
    with tempfile.TemporaryDirectory() as work:
        with open(os.path.join(work, "eval.toml"), "w") as out:
            out.write('[model]\npath = "%s"\n[[evaluate]]\nuse = "perplexity"\nsource = "%s"\nlength = 2048\nevery = 40\n'
                      % (os.path.abspath(model), text))
        checkpoint, gguf = (perplexity(swage, path, work) for path in (os.path.abspath(model), files[0]))
    print("checkpoint %.6f, GGUF %.6f" % (checkpoint, gguf))
    return 0 if abs(gguf / checkpoint - 1) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
