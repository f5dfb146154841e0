#!/usr/bin/env python3
"""Makes what the tokenizer tests compare with, from the PyPI package `tokenizers` 0.23 (Python 3.11: Unicode 14).

    make_token_goldens.py DATA [SMOLLM2_TOKENIZER_JSON WIKITEXT_TEST_FILE]

writes DATA/{assigned.txt,cases.json} and, with the two files, DATA/smollm2.json.
The tests make the mixed text themselves from assigned.txt: keep mixed_text() here and there alike.
"""
import collections, copy, json, sys, unicodedata
from tokenizers import Tokenizer

MASK = (1 << 64) - 1


def assigned_ranges():
    assert unicodedata.unidata_version == "14.0.0", "take Python 3.11: its tables are Unicode 14"
    ranges, start = [], None
    for c in range(0x110001):
        known = c < 0x110000 and unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")
        if known and start is None:
            start = c
        if not known and start is not None:
            ranges.append((start, c - 1))
            start = None
    return ranges


def mixed_text(ranges, size):
    points = [c for low, high in ranges for c in range(low, high + 1)]
    state, out, length = 42, [], 0

    def draw(n):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        return (state >> 33) % n

    bits = ["'s", "'LL", " 'd", "n't", "<s>", "</s>", "e\u0301", "\u1100\u1161\u11a8", "\u2581", "\r\n", "\u00a0", " \u3000"]
    while length < size:
        kind, count = draw(8), draw(9) + 1
        if kind == 0:
            part = "".join(chr(97 + draw(26)) for _ in range(count))
        elif kind == 1:
            part = "".join(" \n\t "[draw(4)] for _ in range(count))
        elif kind == 2:
            part = "".join(chr(48 + draw(10)) for _ in range(count))
        elif kind == 3:
            part = "".join(chr(33 + draw(15)) for _ in range(count))
        elif kind == 4:
            part = bits[draw(len(bits))]
        elif kind == 5:
            part = " " + chr(65 + draw(26)) + "".join("etaoinshr"[draw(9)] for _ in range(count))
        elif kind == 6:
            first = draw(len(points) - 64)
            part = "".join(chr(points[first + draw(64)]) for _ in range(count))
        else:
            part = "".join(chr(points[draw(len(points))]) for _ in range(count))
        out.append(part)
        length += len(part.encode())
    return "".join(out)


def train(words, vocab, count):
    """Plain byte-pair training; ties go to the pair that sorts first."""
    words = {tuple(w): n for w, n in collections.Counter(words).items()}
    merges = []
    for _ in range(count):
        pairs = collections.Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        vocab.setdefault(best[0] + best[1], len(vocab))
        merged = {}
        for word, n in words.items():
            parts, i = [], 0
            while i < len(word):
                step = 2 if word[i:i + 2] == best else 1
                parts.append("".join(word[i:i + step]))
                i += step
            merged[tuple(parts)] = merged.get(tuple(parts), 0) + n
        words = merged
    return merges


def byte_chars():
    table, extra = {}, 0x100
    for b in range(256):
        if 0x21 <= b <= 0x7E or (b >= 0xA1 and b != 0xAD):
            table[b] = chr(b)
        else:
            table[b] = chr(extra)
            extra += 1
    return table


TEXT = ("The smith heats the bar and lays it over the swage, and strikes; the shape is in the block, not in the arm. "
        "It's 1,024 blows later that they're done: 'twas hot work, wasn't it?  In 1999 there were 12345 such forges. "
        "Größe, façade, naïve, Ωμέγα, привет, 你好世界, こんにちは, 한국어, e\u0301te\u0301, \ufb01ne, Ⅻ, ½.\n\n\tEnd.  ") * 3


def bases():
    table = byte_chars()
    vocab = {c: i for i, c in enumerate(table.values())}
    words = ["".join(table[b] for b in w.encode()) for w in TEXT.replace(" ", "\n ").split("\n")]
    merges = train(words, vocab, 300)
    byte_level = {"version": "1.0", "added_tokens": [], "normalizer": None,
                  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                  "post_processor": None,
                  "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
                  "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                            "ignore_merges": False, "vocab": vocab, "merges": [" ".join(m) for m in merges]}}
    vocab = {t: i for i, t in enumerate(["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])}
    for c in sorted(set("▁" + TEXT.replace("世", "") + "abcdefghijklmnopqrstuvwxyz,.!?") - set(" \n\t")):
        vocab.setdefault(c, len(vocab))
    merges = [("▁", "▁"), ("▁▁", "▁▁")]
    for a, b in merges:
        vocab.setdefault(a + b, len(vocab))
    merges += train(["▁" + w for w in TEXT.replace("世", " ").split()], vocab, 300)
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i, t in enumerate(["<unk>", "<s>", "</s>"])]
    metaspace = {"version": "1.0", "added_tokens": special, "normalizer": None,
                 "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False},
                 "post_processor": {"type": "TemplateProcessing",
                                    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                                    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                                    "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
                 "decoder": {"type": "Sequence", "decoders": [
                     {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                     {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
                 "model": {**byte_level["model"], "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                           "vocab": vocab, "merges": [list(m) for m in merges]}}
    return {"byte_level": byte_level, "metaspace": metaspace}


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]
PLAIN = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def chain(*steps):
    return {"type": "Sequence", "pretokenizers": [*steps, PLAIN]}


def token(i, content, **flags):
    base = {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {**base, **flags}


def cases():
    """(name, base, overrides of components, overrides of the model)"""
    yield "byte level", "byte_level", {}, {}
    yield "byte level with a leading space", "byte_level", {
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}}, {}
    yield "digits one by one", "byte_level", {"pre_tokenizer": chain({"type": "Digits", "individual_digits": True})}, {}
    yield "digits together", "byte_level", {"pre_tokenizer": chain({"type": "Digits", "individual_digits": False})}, {}
    yield "Llama 3 with ignored merges", "byte_level", {"pre_tokenizer": chain(split(LLAMA3))}, {"ignore_merges": True}
    yield "o200k", "byte_level", {"pre_tokenizer": chain(split(O200K))}, {}
    yield "DeepSeek", "byte_level", {"pre_tokenizer": chain(*map(split, DEEPSEEK))}, {}
    yield "lines, words and backslashes", "byte_level", {"pre_tokenizer": chain(split(r"\s+$"), split(r"^\w+"), split(r"[\S\t]\d"))}, {}
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield f"split {behavior}", "byte_level", {"pre_tokenizer": chain(split("e", behavior, False, "String"))}, {}
        yield f"split {behavior} inverted", "byte_level", {"pre_tokenizer": chain(split(r"[a-m]", behavior, True))}, {}
    yield "empty finds", "byte_level", {"pre_tokenizer": chain(split("a*"))}, {}
    for kind in ("Punctuation", "Whitespace", "WhitespaceSplit", "BertPreTokenizer"):
        extra = {"behavior": "Contiguous"} if kind == "Punctuation" else {}
        yield kind, "byte_level", {"pre_tokenizer": chain({"type": kind, **extra})}, {}
    for kind in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
        yield kind, "byte_level", {"normalizer": {"type": kind}}, {}
    yield "Strip", "byte_level", {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}}, {}
    yield "NFD without accents in lower case", "byte_level", {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}}, {}
    yield "regex replacement", "byte_level", {"normalizer": {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}}, {}
    yield "byte-level normalizer", "byte_level", {"normalizer": {"type": "ByteLevel"}, "pre_tokenizer": None}, {}
    yield "added tokens", "byte_level", {"added_tokens": [
        token(470, "<s>", special=True), token(471, "</s>", lstrip=True, rstrip=True), token(472, "the", single_word=True),
        token(473, "<s>wage"), token(474, "In", normalized=True)], "normalizer": {"type": "Lowercase"}}, {}
    yield "Bert's post-processor", "byte_level", {"post_processor": {"type": "BertProcessing", "sep": ["a", 64], "cls": ["b", 65]}}, {}
    yield "no decoder", "byte_level", {"decoder": None}, {}
    yield "Metaspace", "metaspace", {}, {}
    yield "Metaspace, split", "metaspace", {
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}}, {}
    yield "Metaspace never in front", "metaspace", {
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}}, {}
    yield "Llama 2", "metaspace", {"pre_tokenizer": None, "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}}, {}
    yield "fused unknowns", "metaspace", {}, {"byte_fallback": False}
    yield "single unknowns", "metaspace", {}, {"byte_fallback": False, "fuse_unk": False}
    yield "dropped unknowns", "metaspace", {}, {"byte_fallback": False, "unk_token": None}
    yield "end of word", "metaspace", {"pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": {"type": "BPEDecoder", "suffix": "e"}}, {
        "end_of_word_suffix": "e"}


TEXTS = ["", " ", "The swage", "  two  spaces \n\n and\ttabs  ", "They're 12345 of 'em, isn't it? IT'S 1999.", "Größe ΣΊΣΥΦΟΣ İstanbul ｆｕｌｌ ﬁne Ⅻ ½ e\u0301 \u1100\u1161",
         "你好，世界。こんにちは 한국어 🙂👩‍👩‍👧", "a<s> in </s> the<s>wage In the themes", "<s><s>  x</s>  ", "▁▁ ▁a▁", "x" * 40 + " " * 40 + "y", "\u180e\u200b\u0085\u3000end$\r\n", "tail e", "aaaa eeee"]


def digest(ids):
    value = 0xCBF29CE484222325
    for i in ids:
        for byte in i.to_bytes(4, "little"):
            value = ((value ^ byte) * 0x100000001B3) & MASK
    return f"{value:016x}"


def main():
    data, ranges = sys.argv[1], assigned_ranges()
    with open(f"{data}/assigned.txt", "w") as file:
        file.write("# Code points assigned in Unicode 14, without surrogates and private use\n")
        file.writelines(f"{low:X} {high:X}\n" for low, high in ranges)
    mixed, base, result = mixed_text(ranges, 1 << 20), bases(), []
    for name, base_name, override, model in cases():
        full = copy.deepcopy({**base[base_name], **override})
        full["model"].update(model)
        tokenizer = Tokenizer.from_str(json.dumps(full))
        ids = [tokenizer.encode(text).ids for text in TEXTS]
        long = tokenizer.encode(mixed, add_special_tokens=False).ids
        result.append({"name": name, "base": base_name, "override": override, "model": model, "ids": ids,
                       "decoded": [tokenizer.decode(i, skip_special_tokens=True) for i in ids],
                       "mixed": {"count": len(long), "fnv1a": digest(long)}})
    with open(f"{data}/cases.json", "w", encoding="utf-8") as file:
        json.dump({"bases": base, "texts": TEXTS, "cases": result}, file, ensure_ascii=False, separators=(",", ":"))
    if len(sys.argv) == 4:
        tokenizer = Tokenizer.from_file(sys.argv[2])
        golden = {}
        for name, text in (("mixed", mixed), ("wikitext", open(sys.argv[3], encoding="utf-8", newline="").read())):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            golden[name] = {"count": len(ids), "fnv1a": digest(ids), "first": ids[:16]}
        with open(f"{data}/smollm2.json", "w") as file:
            json.dump(golden, file, indent=1)


if __name__ == "__main__":
    main()
