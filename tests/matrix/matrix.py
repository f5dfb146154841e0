#!/usr/bin/env python3
"""Compresses small models of every family with many recipes, and compares the bytes of the export
between threads 1 and 2 and micro-batches of 1, 3 and the default, for every compute type. Prints
what differs; ends with 1 where something does.

    matrix.py                        a covering sample: every model, recipe and compute type
    matrix.py --all                  all of them with each other
    matrix.py --models llama,bloom --recipes omniquant --compute float32
"""
import argparse
import hashlib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

WEIGHT = "weight = { bits = 4, granularity = \"channel\" }\n"
RECIPES = {
    "rtn": "[[step]]\nuse = \"rtn\"\n" + WEIGHT,
    "gptq": "[[step]]\nuse = \"gptq\"\n" + WEIGHT,
    "awq": "[[step]]\nuse = \"awq\"\n" + WEIGHT,
    "awq-gptq": "[scheme]\n" + WEIGHT + "[[step]]\nuse = \"awq\"\n[[step]]\nuse = \"gptq\"\n",
    "smoothquant-gptq": "[scheme]\n" + WEIGHT + "activation = { bits = 8 }\n"
                        "[[step]]\nuse = \"smoothquant\"\n[[step]]\nuse = \"gptq\"\n",
    "quarot-gptq": "[scheme]\n" + WEIGHT + "[[step]]\nuse = \"quarot\"\n[[step]]\nuse = \"gptq\"\n",
    "omniquant": "[[step]]\nuse = \"omniquant\"\nepochs = 2\n" + WEIGHT,
}
COMPUTES = ["float32", "bfloat16", "float64"]
WAYS = [(1, 1), (2, 1), (1, 3), (2, 0)]  # threads, micro-batch; 0: the default
SAMPLED_WAYS = [(1, 0), (2, 1), (2, 3)]
PIPELINE = """[model]
path = "model"
[calibration]
source = "ids.json"
samples = 8
length = 64
%s[[export]]
use = "huggingface"
path = "%s"
[run]
work = "%s"
compute = "%s"
threads = %d
micro_batch = %d
verify_windows = 1
"""


def vocabulary(folder):
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    for part in (config, config.get("text_config", {}), config.get("llm_config", {})):
        if "vocab_size" in part:
            return part["vocab_size"]
    raise KeyError("vocab_size")


def ids_of_text(folder):
    """Token ids that stand for no picture."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    special = {value for part in (config, config.get("vision_config", {}))
               for key, value in part.items() if "token" in key and isinstance(value, int)}
    return [token for token in range(4, vocabulary(folder)) if token not in special]


def digest(folder):
    whole = hashlib.sha256()
    for name in sorted(os.listdir(folder)):
        if name == "swage_verdict.json":
            continue
        with open(os.path.join(folder, name), "rb") as file:
            whole.update(name.encode() + file.read())
    return whole.hexdigest()


class Case:
    """One model, recipe and compute type in a folder of its own."""

    def __init__(self, model, recipe, compute):
        self.name = f"{model} {recipe} {compute}"
        self.recipe, self.compute = recipe, compute
        self.source = os.path.join(os.environ["SWAGE_SOURCE_DIR"], "tests/data/parity", model)

    def run(self, swage, ways):
        """Digests of the exports by way; one refusal for all is a digest of its own."""
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "model"))
            for name in ("config.json", "model.safetensors"):
                shutil.copy(os.path.join(self.source, name), os.path.join(folder, "model"))
            ids = random.Random(7)
            tokens = ids_of_text(self.source)
            with open(os.path.join(folder, "ids.json"), "w") as file:
                rows = [[ids.choice(tokens) for _ in range(64)] for _ in range(8)]
                json.dump({"input_ids": rows}, file)
            return {way: self.export(swage, folder, way) for way in ways}

    def export(self, swage, folder, way):
        out = "out-%d-%d" % way
        with open(os.path.join(folder, "p.toml"), "w") as file:
            file.write(PIPELINE % (RECIPES[self.recipe], out, out + "-work", self.compute, *way))
        answer = subprocess.run([swage, "run", "p.toml", "--quiet"], cwd=folder,
                                capture_output=True, text=True)
        if answer.returncode in (0, 6):
            verdict = "" if answer.returncode == 0 else " not verified"
            return digest(os.path.join(folder, out)) + verdict
        if answer.returncode in (3, 4):
            return "refused: " + answer.stderr.strip()[:200]
        raise RuntimeError(f"{self.name}: exit {answer.returncode}\n{answer.stderr}")


def sample(models):
    """Every model, and every recipe with every compute type."""
    pairs = list(itertools.product(RECIPES, COMPUTES))
    return [(model, *pairs[i % len(pairs)]) for i, model in enumerate(models)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--models")
    parser.add_argument("--recipes")
    parser.add_argument("--compute")
    chosen = parser.parse_args()
    parity = os.path.join(os.environ["SWAGE_SOURCE_DIR"], "tests/data/parity")
    models = sorted(name for name in os.listdir(parity)
                    if os.path.exists(os.path.join(parity, name, "config.json")))
    cases, ways = sample(models), SAMPLED_WAYS
    if chosen.all or chosen.models or chosen.recipes or chosen.compute:
        cases = itertools.product(chosen.models.split(",") if chosen.models else models,
                                  chosen.recipes.split(",") if chosen.recipes else RECIPES,
                                  chosen.compute.split(",") if chosen.compute else COMPUTES)
        ways = WAYS
    swage = os.path.join(os.environ["SWAGE_BUILD_DIR"], "bin/swage")
    count, wrong, refused = 0, 0, 0
    for names in cases:
        case = Case(*names)
        digests = case.run(swage, ways)
        count += 1
        refused += any(text.startswith("refused") for text in digests.values())
        if len(set(digests.values())) > 1 or any("not verified" in d for d in digests.values()):
            wrong += 1
            print(f"{case.name}: " + ", ".join(
                "threads %d micro-batch %d %s" % (*way, text[:8]) if text[:7] != "refused" else text
                for way, text in digests.items()), flush=True)
        elif digests[ways[0]].startswith("refused"):
            print(f"{case.name}: {digests[ways[0]]}", flush=True)
    print(f"{count} cases, {refused} refused, {wrong} differ")
    return 1 if wrong or count == refused else 0


if __name__ == "__main__":
    sys.exit(main())
