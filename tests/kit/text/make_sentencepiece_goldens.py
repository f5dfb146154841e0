#!/usr/bin/env python3
"""Makes small tokenizer.model files with the PyPI package sentencepiece, and the ids that transformers 4.57's fast tokenizers, which
convert such files, or the package itself give for the texts of families.py.

    make_sentencepiece_goldens.py DATA    writes DATA/sentencepiece/{*.model,expected.json}
"""
import json, os, shutil, sys, tempfile
import sentencepiece, transformers
from families import TEXTS
from make_token_goldens import TEXT

LLAMA = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
GEMMA = {"tokenizer_class": "GemmaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
MODELS = {
    "llama": dict(add_dummy_prefix=True, remove_extra_whitespaces=False),
    "gemma": dict(add_dummy_prefix=False, remove_extra_whitespaces=False, user_defined_symbols=["\n\n", "▁▁", "<start_of_turn>"], control_symbols=["<pad>"]),
    "squeezed": dict(add_dummy_prefix=True, remove_extra_whitespaces=True),
}
# name -> model, tokenizer_config.json
CASES = {"legacy": ("llama", {**LLAMA, "legacy": True}), "not legacy": ("llama", {**LLAMA, "legacy": False, "add_eos_token": True})}
# What no converter of transformers 4 keeps: the library itself tells.
PLAIN = {"gemma": ("gemma", GEMMA), "squeezed": ("squeezed", {})}


def train(path, **options):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.replace("世", " ").split("\n")), model_prefix=path, model_type="bpe", vocab_size=520, byte_fallback=True, hard_vocab_limit=False,
        character_coverage=1.0, normalization_rule_name="identity", minloglevel=2, **options)
    os.remove(path + ".vocab")


def converted(model, config):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(model, os.path.join(folder, "tokenizer.model"))
        with open(os.path.join(folder, "tokenizer_config.json"), "w") as out:
            json.dump(config, out)
        tokenizer = getattr(transformers, config["tokenizer_class"] + "Fast").from_pretrained(folder)
    return [tokenizer(text).input_ids for text in TEXTS]


def main():
    folder = os.path.join(sys.argv[1], "sentencepiece")
    os.makedirs(folder, exist_ok=True)
    for name, options in MODELS.items():
        train(os.path.join(folder, name), **options)
    cases = [{"name": name, "model": model, "config": config, "ids": converted(os.path.join(folder, model + ".model"), config)}
             for name, (model, config) in CASES.items()]
    texts = [t for t in TEXTS if not any(control in t for control in ("<s>", "</s>", "<unk>", "<pad>"))]
    for name, (model, config) in PLAIN.items():
        library = sentencepiece.SentencePieceProcessor(os.path.join(folder, model + ".model"))
        cases.append({"name": name, "model": model, "config": config, "texts": texts, "ids": [[1, *library.encode(text)] for text in texts]})
    with open(os.path.join(folder, "expected.json"), "w", encoding="utf-8") as out:
        json.dump(cases, out, ensure_ascii=False, separators=(",", ":"))


main()
