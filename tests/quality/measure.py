#!/usr/bin/env python3
"""Measures recipes on one model and prints them as a table: perplexity, KL divergence, bits and seconds.

    measure.py --swage build/release/bin/swage --model DIR --text wiki.test.tokens --ids calibration-ids.json \
               --work DIR [--only w4-sym] [--threads N] [--every 10] [--samples 32]

Each recipe is a run of its own in the work folder; one that is there already is read, not run again. The original model is
passed once ([run] reference_cache). Needs nothing but Python.
"""
import argparse
import json
import os
import subprocess

EXTRA = {"smoothquant": "alpha = 0.8\n", "quarot-online": "online = true\n", "omniquant": "epochs = 2\n"}

# Number formats, each with its usual keys: rounded by extremes, by a weighted search, and by GPTQ.
FORMATS = {
    "w4-g64": "bits = 4, group = 64", "nvfp4": 'format = "nvfp4"', "mxfp4": 'format = "mxfp4"',
    "mxfp4-thirds": 'format = "mxfp4", scale_rule = "four-thirds"', "nf4": 'format = "nf4"',
    "iq4_nl": 'format = "iq4_nl"', "q4_0": 'format = "q4_0"', "q8_0": 'format = "q8_0"',
    "mxfp8": 'format = "mxfp8"', "fp8-channel": 'format = "fp8-e4m3"', "fp8-block": 'format = "fp8-e4m3", granularity = "block"',
    "fp6": 'format = "fp6-e2m3"',
}


def steps(*names):
    """Entries of the steps; "quarot-online" is quarot with its rotations at run time."""
    return "".join('[[step]]\nuse = "%s"\n%s' % (name.split("-")[0], EXTRA.get(name, "")) for name in names)


def recipes():
    """name -> text of [scheme] and steps."""
    table = {}
    for bits in (4, 3, 2):
        for kind, symmetric in (("sym", "true"), ("asym", "false")):
            scheme = "[scheme]\nweight = { bits = %d, group = 64, symmetric = %s }\n" % (bits, symmetric)
            for method in (("rtn",), ("gptq",), ("awq",), ("awq", "gptq"), ("omniquant",)):
                table["w%d-%s-%s" % (bits, kind, "-".join(method))] = scheme + steps(*method)
    scheme = '[scheme]\nweight = { bits = 8, granularity = "channel" }\nactivation = { bits = 8, granularity = "token" }\n'
    for method in (("rtn",), ("smoothquant", "rtn"), ("smoothquant", "gptq")):
        table["w8a8-" + "-".join(method)] = scheme + steps(*method)
    scheme = '[scheme]\nweight = { bits = 4, granularity = "channel" }\nactivation = { bits = 4, granularity = "token" }\n'
    for method in (("gptq",), ("quarot", "gptq"), ("quarot-online", "gptq")):
        table["w4a4-" + "-".join(method)] = scheme + steps(*method)
    for name, keys in FORMATS.items():
        for method, use, more in (("rtn", "rtn", ""), ("weighted", "rtn", ', range = "weighted"'), ("gptq", "gptq", ""),
                                  ("gptq-weighted", "gptq", ', range = "weighted"')):
            table["%s-%s" % (name, method)] = "[scheme]\nweight = { %s%s }\n%s" % (keys, more, steps(use))
    return table


def pipeline(args, body):
    evaluate = "".join('[[evaluate]]\nuse = "%s"\nsource = "%s"\nlength = 2048\nevery = %d\n' % (use, args.text, args.every)
                       for use in ("perplexity", "divergence"))
    return ('[model]\npath = "%s"\n[calibration]\nsource = "%s"\nsamples = %d\nlength = 512\n%s%s[run]\nreference_cache = "%s"\n'
            % (args.model, args.ids, args.samples, body, evaluate, os.path.join(args.work, "reference")))


def measure(args, name, body):
    folder = os.path.join(args.work, name)
    result = os.path.join(folder, "result.json")
    if not os.path.exists(result):
        os.makedirs(args.work, exist_ok=True)
        file = os.path.join(args.work, name + ".toml")
        with open(file, "w") as out:
            out.write(pipeline(args, body))
        begun = os.path.exists(os.path.join(folder, "run.db"))
        command = [args.swage] + (["resume", folder] if begun else ["run", file, "--work", folder])
        command += ["--threads", str(args.threads), "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with open(result) as source:
        return json.load(source)


def row(name, result):
    metrics = result["metrics"]
    divergence = metrics["divergence"]["compressed"]
    return "| %s | %.4f | %.3f | %.4f | %.1f %% | %.0f | %.0f |" % (
        name, result["bits_per_weight"], metrics["perplexity"]["compressed"]["perplexity"], divergence["kl_mean"],
        100 * divergence["top1_agreement"], result["cpu_seconds"], result["peak_bytes"]["host"] / 1e6)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("swage", "model", "text", "ids", "work"):
        parser.add_argument("--" + option, required=True, type=os.path.abspath)
    parser.add_argument("--only", default="", help="recipes whose name contains this")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--every", type=int, default=10, help="evaluate each n-th window of 2048 tokens")
    parser.add_argument("--samples", type=int, default=32, help="calibration windows of 512 tokens")
    args = parser.parse_args()
    print("| recipe | bits per weight | perplexity | KL | top-1 | CPU s | peak MB |\n|---|---|---|---|---|---|---|", flush=True)
    for name, body in recipes().items():
        if args.only in name:
            print(row(name, measure(args, name, body)), flush=True)


if __name__ == "__main__":
    main()
