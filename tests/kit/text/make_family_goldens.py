#!/usr/bin/env python3
"""Makes tests/data/text/families.json: what the PyPI package `tokenizers` gives for the tokenizers of families.py.

    make_family_goldens.py DATA              ids and texts; with tokenizers 0.23
    make_family_goldens.py DATA --special    then adds the special tokens that transformers 4.57 puts around a text
"""
import copy, json, os, sys, tempfile
from tokenizers import Tokenizer
from families import TEXTS, families
from make_token_goldens import assigned_ranges, bases, digest, mixed_text

MIXED = 1 << 18  # bytes


def whole(base, family):
    """tokenizer.json, with ids for added tokens and in templates"""
    full = copy.deepcopy({**base, **family["override"]})
    full["model"].update(family.get("model", {}))
    vocab = full["model"]["vocab"]
    for token in family.get("extra", []):
        vocab.setdefault(token, len(vocab))
    ids, free = dict(vocab), len(vocab)
    for token in full["added_tokens"]:
        if token["content"] not in ids:
            ids[token["content"]] = free
            free += 1
        token["id"] = ids[token["content"]]

    def number(node):
        if isinstance(node, list):
            return [number(item) for item in node]
        if not isinstance(node, dict):
            return node
        if set(node) == {"id", "ids", "tokens"}:
            return {**node, "ids": [ids[t] for t in node["ids"]]}
        return {key: number(value) for key, value in node.items()}

    full["post_processor"] = number(full["post_processor"])
    return full


def surrounding(full, config):
    """Ids before and after a text, as the class that tokenizer_config.json names adds them."""
    import transformers
    assert transformers.__version__.startswith("4."), "transformers 5 does not read add_bos_token beside a tokenizer.json"
    name = config["tokenizer_class"].removesuffix("Fast").replace("InternLM2", "Llama")  # remote code does what Llama's class does
    kind = getattr(transformers, name + "Fast", transformers.PreTrainedTokenizerFast)
    with tempfile.TemporaryDirectory() as folder:
        for file, value in (("tokenizer.json", full), ("tokenizer_config.json", config)):
            with open(os.path.join(folder, file), "w") as out:
                json.dump(value, out)
        tokenizer = kind.from_pretrained(folder)
    text, ids = (tokenizer("The swage", add_special_tokens=flag).input_ids for flag in (False, True))
    at = next(i for i in range(len(ids)) if ids[i:i + len(text)] == text)
    return ids[:at], ids[at + len(text):]


def write(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))


def add_surroundings(path, base):
    with open(path, encoding="utf-8") as file:
        golden = json.load(file)
    for item in golden["families"]:
        family = families()[item["name"]]
        item["before"], item["after"] = surrounding(whole(base[family["base"]], family), family["config"])
        print(f"{item['name']}: {item['before']} text {item['after']}", file=sys.stderr)
    write(path, golden)


def main():
    path, base = f"{sys.argv[1]}/families.json", bases()
    if sys.argv[2:] == ["--special"]:
        return add_surroundings(path, base)
    mixed, result = mixed_text(assigned_ranges(), MIXED), []
    for name, family in families().items():
        full = whole(base[family["base"]], family)
        tokenizer = Tokenizer.from_str(json.dumps(full))
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
        decoded = [tokenizer.decode(i, skip_special_tokens=False) for i in ids]
        skipped = [tokenizer.decode(i, skip_special_tokens=True) for i in ids]
        long = tokenizer.encode(mixed, add_special_tokens=False).ids
        result.append({
            "name": name, "base": family["base"], "override": {key: full[key] for key in family["override"]}, "model": family.get("model", {}),
            "extra": family.get("extra", []), "config": family["config"], "ids": ids,
            "decoded": [None if d == t else d for d, t in zip(decoded, TEXTS)],
            "skipped": [None if s == d else s for s, d in zip(skipped, decoded)],
            "mixed": {"count": len(long), "fnv1a": digest(long)}})
    write(path, {"texts": TEXTS, "mixed_bytes": MIXED, "families": result})


if __name__ == "__main__":
    main()
