#!/usr/bin/env python3
"""Runs recipes on SmolLM2-135M and compares perplexities with what other tools reach on the same model, token ids and
windows (LLM Compressor 0.14: 21.90, 20.37 and 33.09), and the original's with transformers (docs/evaluation.md). One recipe,
that with the closest limit; with SWAGE_QUALITY=1 all of them (seven minutes each on one thread)."""
import argparse
import os
import sys
import tempfile

import measure

ORIGINAL = 17.614796
LIMITS = {"w4-sym-gptq": 21.80, "w4-asym-gptq": 20.00, "w3-asym-gptq": 30.00}
SAMPLE = ("w4-asym-gptq",)
SKIPPED = 77


def main():
    model, data, ids = (os.environ.get(name, "") for name in ("SWAGE_TEST_MODEL", "SWAGE_TEST_DATA", "SWAGE_TEST_IDS"))
    text = os.path.join(data, "wikitext-2", "wiki.test.tokens")
    for name, path in (("SWAGE_TEST_MODEL", model), ("SWAGE_TEST_DATA", text), ("SWAGE_TEST_IDS", ids)):
        if not path or not os.path.exists(path):
            print("skipped: %s names nothing that exists" % name)
            return SKIPPED
    failures = 0
    with tempfile.TemporaryDirectory() as work:
        args = argparse.Namespace(swage=os.path.join(os.environ["SWAGE_BUILD_DIR"], "bin", "swage"), model=os.path.abspath(model),
                                  text=os.path.abspath(text), ids=os.path.abspath(ids), work=work, threads=1, every=10, samples=32)
        for name in LIMITS if os.environ.get("SWAGE_QUALITY") else SAMPLE:
            limit = LIMITS[name]
            result = measure.measure(args, name, measure.recipes()[name])
            print(measure.row(name, result), flush=True)
            metrics = result["metrics"]["perplexity"]
            original, found = metrics["original"]["perplexity"], metrics["compressed"]["perplexity"]
            if abs(original / ORIGINAL - 1) > 1e-4:
                print("the original's perplexity is %.6f, transformers gives %.6f" % (original, ORIGINAL))
                failures += 1
            if found > limit:
                print("%s has perplexity %.3f, expected at most %.2f" % (name, found, limit))
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
