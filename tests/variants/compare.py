#!/usr/bin/env python3
"""Holds Swage against transformers on random small models of random configurations (space.py, space_images.py, derived.py).

    compare.py [--only TYPE] [--first SEED] [--count N] [--keep DIR]

Needs transformers 5.23; SWAGE_BUILD_DIR says where Swage was built. Every hidden state and the logits have to agree within 5e-5,
or 5e-6 of the largest value where values exceed 10. What transformers cannot build is left out; what Swage refuses is a failure,
but for a foreign model_type beside keys that the family's adapter does not read. A tensor too many or too few has to be refused.
"""
import argparse, dataclasses, json, os, random, shutil, subprocess, sys, tempfile, warnings
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "parity"))
import torch
from safetensors.torch import load_file, save_file
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from make_variants import save_random
import derived, space, space_images

def build(given, images, folder, seed):
    """Model and reference in `folder`; the reason where transformers refuses."""
    try:
        config = AutoConfig.for_model(**given)
        # Transformers 5.23 adds Falcon's ALiBi twice in its plain attention; caps are in the plain ones alone.
        config._attn_implementation = "sdpa" if given["model_type"] == "falcon" else "eager"
        torch.manual_seed(seed)
        kind = AutoModelForImageTextToText if images else AutoModelForCausalLM
        model = kind.from_config(config, dtype=torch.float32).eval()
        if images:
            inputs, others = space_images.inputs(config, images)
        else:
            inputs, others = {"input_ids": torch.randint(3, config.vocab_size, (1, 40))}, {}
        save_random(model, given, folder)
        with torch.no_grad():
            out = model(**inputs, **others, output_hidden_states=True)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    tensors = {f"hidden_{i}": state.contiguous().clone() for i, state in enumerate(out.hidden_states)}
    if not all(bool(t.isfinite().all()) for t in tensors.values()):
        return "not finite"
    save_file({**inputs, "logits": out.logits.contiguous().clone(), **tensors}, folder + "/io.safetensors")
    return ""


def forward(folder):
    swage = os.path.join(os.environ["SWAGE_BUILD_DIR"], "bin", "swage")
    if os.path.exists(folder + "/out.safetensors"):
        os.remove(folder + "/out.safetensors")
    return subprocess.run([swage, "forward", folder, "--input", folder + "/io.safetensors", "--output", folder + "/out.safetensors",
                           "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def make_foreign(folder):
    with open(folder + "/config.json") as file:
        config = json.load(file)
    with open(folder + "/config.json", "w") as file:
        json.dump({**config, "model_type": "foreign"}, file)


def accepted(folder, rng):
    """What is not refused though a tensor is too many or too few; "" where all is."""
    whole = load_file(folder + "/model.safetensors")
    linears = [name for name in whole if name.endswith("_proj.weight") and name.replace(".weight", ".bias") not in whole]
    extra = rng.choice(linears).replace(".weight", ".bias") if linears and rng.random() < 0.5 else "model.layers.77.extra.weight"
    missing = rng.choice(sorted(whole))
    for what, tensors in (("an extra " + extra, {**whole, extra: torch.zeros(8)}),
                          ("no " + missing, {name: tensor for name, tensor in whole.items() if name != missing})):
        save_file(tensors, folder + "/model.safetensors")
        if forward(folder).returncode == 0:
            return f"accepted with {what}"
    return ""


def compare(folder):
    """What is wrong; "" where nothing is."""
    output, reference = folder + "/out.safetensors", load_file(folder + "/io.safetensors")
    done = forward(folder)
    if done.returncode:
        return "refused: " + done.stdout.strip()[-500:]
    found = load_file(output)
    for name in sorted(found, key=lambda name: (name == "logits", name)):
        expected = reference[name].reshape(found[name].shape)
        worst, limit = (found[name] - expected).abs().max().item(), 5e-5 * max(1.0, expected.abs().max().item() / 10)
        if not worst <= limit:
            return f"{name} is {worst:.3g} off, more than {limit:.3g}"
    return ""


def unlisted():
    """Keys that a text family's configuration class knows and space.py does not."""
    common = {field.name for field in dataclasses.fields(transformers.PretrainedConfig)} | space.IRRELEVANT
    for model_type, (always, perhaps) in space.FAMILIES.items():
        for field in dataclasses.fields(CONFIG_MAPPING[model_type]):
            if field.name not in {*common, *always, *perhaps}:
                yield f"{model_type}: {field.name}"


def sample(model_type, rng):
    """A configuration, and its images."""
    if model_type in space_images.MODELS:
        return space_images.MODELS[model_type](rng)
    if model_type not in derived.MODELS:
        return space.sample(model_type, rng), []
    origin, stated, _ = derived.MODELS[model_type]
    given, images = sample(origin, rng)
    for key, value in stated.items():
        table, _, name = key.rpartition(".")
        (given[table] if table else given)[name] = value
    return given, images


def derive(folder, change):
    with open(folder + "/config.json") as file:
        config, tensors = change(json.load(file), load_file(folder + "/model.safetensors"))
    with open(folder + "/config.json", "w") as file:
        json.dump(config, file)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder + "/model.safetensors")


def attempt(model_type, seed, keep):
    given, images = sample(model_type, random.Random(f"{model_type} {seed}"))
    with tempfile.TemporaryDirectory() as folder:
        unbuilt = build(given, images, folder, seed)
        if unbuilt:
            return "left out", unbuilt, given
        if model_type in derived.MODELS:
            derive(folder, derived.MODELS[model_type][2])
        elif seed % 2:  # as the hub holds it; else as transformers saves it
            shutil.copy(folder + "/config_min.json", folder + "/config.json")
        foreign = seed % 3 == 2 and not images
        if foreign:
            make_foreign(folder)
        wrong = compare(folder)
        if foreign and "does not read" in wrong:
            return "refused", wrong, given
        if not wrong and seed % 4 == 1 and not images:
            wrong = accepted(folder, random.Random(seed))
        if wrong and keep:
            shutil.copytree(folder, os.path.join(keep, f"{model_type}-{seed}"), dirs_exist_ok=True)
        return "wrong" if wrong else "same", wrong, given


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="families whose model_type contains this")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=4, help="models of each family")
    parser.add_argument("--keep", default="", help="a folder for models that differ")
    args = parser.parse_args()
    failures = 0
    for model_type in [*space.FAMILIES, *space_images.MODELS, *derived.MODELS]:
        if args.only not in model_type:
            continue
        counts = {"same": 0, "left out": 0, "refused": 0, "wrong": 0}
        for seed in range(args.first, args.first + args.count):
            verdict, why, given = attempt(model_type, seed, args.keep)
            counts[verdict] += 1
            if verdict != "same":
                print(f"  {model_type} {seed} {verdict}: {why}")
            if verdict == "wrong":
                print("    " + json.dumps(given))
        print(f"{model_type:14} " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()), flush=True)
        failures += counts["wrong"] + (counts["same"] == 0)
    for name in unlisted():
        print(f"no choice of values for {name}")
        failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(main())
