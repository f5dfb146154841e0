"""The tokenizers of model families, as their checkpoints' tokenizer.json and tokenizer_config.json describe them: the same components,
switches and flags of added tokens, on the small vocabularies of make_token_goldens.py.

Each family is a table:
    base      the vocabulary: byte_level or metaspace
    override  components in place of the base's
    model     members of the model in place of the base's
    extra     tokens behind the base's vocabulary that no merge reaches
    config    tokenizer_config.json
Ids of added tokens are counted on from the vocabulary.
"""
from make_token_goldens import DEEPSEEK, LLAMA3, O200K, PLAIN, chain, split

QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CL100K = LLAMA3
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
          r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
# Cased letters, in escapes: some of them are changed by normalization.
CASED = ("A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377"
         "\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5"
         "\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
         "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4"
         "\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d"
         "\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
         "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06"
         "\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
         "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943")
DEEPSEEK2 = ["[\r\n]", rf"\s?[{CASED}]+", "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$",
             "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"]
DIGITS = {"type": "Digits", "individual_digits": True}


def byte_level(prefix=False, trim=True, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex}


def special(content, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **flags}


def plain(content, **flags):
    return special(content, **{"special": False, **flags})


def template(*before, after=()):
    """before, the text, after"""
    piece = [{"SpecialToken": {"id": t, "type_id": 0}} for t in before]
    tail = [{"SpecialToken": {"id": t, "type_id": 0}} for t in after]
    return {"type": "TemplateProcessing", "single": [*piece, {"Sequence": {"id": "A", "type_id": 0}}, *tail],
            "pair": [*piece, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}, *tail],
            "special_tokens": {t: {"id": t, "ids": [t], "tokens": [t]} for t in {*before, *after}}}


def sequence(key, *steps):
    return {"type": "Sequence", key: list(steps)}


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
LEGACY = sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, REPLACE)
SPACES = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
LLAMA_DECODER = sequence("decoders", SPACES, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})
LLAMA_TOKENS = [special("<unk>"), special("<s>"), special("</s>")]
LLAMA_CONFIG = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def sentencepiece(tokens, config, post=template("<s>"), **override):
    return {"base": "metaspace", "config": {**LLAMA_CONFIG, **config},
            "override": {"added_tokens": [*LLAMA_TOKENS, *tokens], "normalizer": LEGACY, "pre_tokenizer": None, "post_processor": post,
                         "decoder": LLAMA_DECODER, **override}}


def bytes_of(pre, tokens, config, model=None, extra=(), **override):
    return {"base": "byte_level", "config": config, "model": model or {}, "extra": list(extra),
            "override": {"added_tokens": list(tokens), "pre_tokenizer": pre, "post_processor": byte_level(), "decoder": byte_level(True), **override}}


NO_AFFIX = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
# Whole words of tiktoken's vocabularies that their merges do not give.
WORDS = ["Ġisn't", "12345", "Ġswagger", "zzz"]
LLAMA3_TOKENS = [special(f"<|{name}|>") for name in ("begin_of_text", "end_of_text", "start_header_id", "end_header_id", "eot_id", "python_tag")]
LLAMA3_POST = sequence("processors", byte_level(True, False), template("<|begin_of_text|>"))
FAST = "PreTrainedTokenizerFast"


def llama3(*tokens):
    return bytes_of(chain(split(LLAMA3)), [*LLAMA3_TOKENS, *tokens],
                    {"tokenizer_class": FAST, "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "clean_up_tokenization_spaces": True},
                    {"ignore_merges": True}, WORDS, post_processor=LLAMA3_POST)


def qwen(*tokens, **config):
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    return bytes_of(chain(split(QWEN)), [*map(special, names), *tokens],
                    {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "bos_token": None, "eos_token": "<|im_end|>",
                     "pad_token": "<|endoftext|>", "unk_token": None, **config},
                    NO_AFFIX, normalizer={"type": "NFC"}, post_processor=byte_level(False, False, False), decoder=byte_level(False, False, False))


GEMMA_TOKENS = [*map(special, ("<pad>", "<eos>", "<bos>", "<unk>")), *map(plain, ("<mask>", "<start_of_turn>", "<end_of_turn>", "\n", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "<table>", "</h1>"))]


def gemma(tokens=(), **config):
    return {"base": "metaspace", "config": {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False, "bos_token": "<bos>",
                                            "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>", **config},
            "override": {"added_tokens": [*GEMMA_TOKENS, *tokens], "normalizer": REPLACE, "pre_tokenizer": split(" ", "MergedWithPrevious", False, "String"),
                         "post_processor": template("<bos>"), "decoder": sequence("decoders", SPACES, {"type": "ByteFallback"}, {"type": "Fuse"})}}


def deepseek(pre, normalized, **config):
    names = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>")
    others = ("<｜User｜>", "<｜Assistant｜>", "<|EOT|>", "<｜fim▁hole｜>")
    return bytes_of(pre, [*(special(t, normalized=normalized) for t in names), *(plain(t, normalized=True) for t in others)],
                    {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "add_eos_token": False,
                     "bos_token": {"__type": "AddedToken", **special(names[0], normalized=True)},
                     "eos_token": {"__type": "AddedToken", **special(names[1], normalized=True)}, **config},
                    normalizer=sequence("normalizers"), post_processor=byte_level(True, False))


def families():
    """name -> family"""
    gpt2 = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    end = special("<|endoftext|>")
    im = [special("<|im_start|>"), special("<|im_end|>")]
    rstrip = {"rstrip": True}
    spaces = [plain(" " * n, normalized=True) for n in range(24, 1, -1)]
    vision = [special(t) for t in ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")]
    return {
        "llama 1": sentencepiece([], {"tokenizer_class": "LlamaTokenizer", "clean_up_tokenization_spaces": False}),
        "llama 2": sentencepiece([], {"add_bos_token": True, "add_eos_token": False, "legacy": False}),
        "llama 2 without legacy": sentencepiece([special("<pad>")], {"legacy": False}, normalizer=None, pre_tokenizer={
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}),
        "llama 3": llama3(),
        "mllama": llama3(special("<|image|>")),
        "mistral 0.1, mixtral": sentencepiece([], {"add_bos_token": True, "add_eos_token": False}),
        "mistral 0.3": sentencepiece([special(t) for t in ("[INST]", "[/INST]", "[TOOL_CALLS]")], {"add_bos_token": True, "add_eos_token": False},
                                     normalizer=None, pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}),
        "mistral nemo": bytes_of(chain(split(TEKKEN)), [special(t) for t in ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")],
                                 {"tokenizer_class": FAST, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True,
                                  "add_eos_token": False}, {"ignore_merges": True}, WORDS, post_processor=template("<s>")),
        "smollm2": bytes_of(sequence("pretokenizers", DIGITS, byte_level()), [end, *im, special("<repo_name>")],
                            {**gpt2, "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "add_prefix_space": False}, NO_AFFIX),
        "smollm3": bytes_of(chain(split(LLAMA3)), [*LLAMA3_TOKENS, *im, plain("<think>"), plain("</think>")],
                            {"tokenizer_class": FAST, "bos_token": None, "eos_token": "<|im_end|>", "clean_up_tokenization_spaces": True},
                            {"ignore_merges": True}, WORDS, post_processor=byte_level(True, False)),
        "qwen 2, qwen 2-moe": qwen(),
        "qwen 2.5": qwen(*vision, plain("<tool_call>"), plain("<|fim_prefix|>"), add_bos_token=False),
        "qwen 3, qwen 3-moe": qwen(*vision, plain("<tool_call>"), plain("<think>"), plain("</think>"), add_bos_token=False),
        "qwen-vl": qwen(*vision, special("<|box_start|>"), clean_up_tokenization_spaces=False),
        "internvl with qwen": qwen(special("<img>"), special("</img>"), special("<IMG_CONTEXT>"), add_eos_token=False),
        "deepseek 2": deepseek(chain(*map(split, DEEPSEEK2), DIGITS), True),
        "deepseek 3": deepseek(chain(*map(split, DEEPSEEK)), False),
        "phi 1 and 2": bytes_of(byte_level(), [end, *(plain(" " * n, normalized=True) for n in range(31, 1, -1)),
                                               *(plain("\t" * n, normalized=True) for n in range(9, 1, -1))],
                                {**gpt2, "tokenizer_class": "CodeGenTokenizer", "add_prefix_space": False, "clean_up_tokenization_spaces": True}, NO_AFFIX,
                                post_processor=byte_level(False, True)),
        "phi 3": {**sentencepiece([], {"add_bos_token": False, "add_eos_token": False, "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "legacy": False},
                                  template(), added_tokens=[special("<unk>"), special("<s>"), plain("</s>", rstrip=True), end, *(
                                      special(t, rstrip=True) for t in ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"))])},
        "phi 4": bytes_of(chain(split(CL100K, "Removed", True)), [end, special("<|im_start|>", lstrip=True, **rstrip), special("<|im_sep|>", lstrip=True, **rstrip),
                                                                   special("<|im_end|>", lstrip=True, **rstrip), special("<|dummy_1|>", lstrip=True, **rstrip)],
                          {**gpt2, "add_prefix_space": False}, {"ignore_merges": False}, post_processor=byte_level(False, False)),
        "phi 4-mini": bytes_of(chain(split(O200K)), [end, special("<|end|>", **rstrip), special("<|user|>", **rstrip), special("<|tool|>", normalized=False)],
                               {**gpt2, "add_bos_token": False, "add_eos_token": False}, {"ignore_merges": False}, post_processor=byte_level(True, False)),
        "gemma 2": gemma(),
        "gemma 3": gemma([special("<start_of_image>"), special("<end_of_image>"), plain("<unused6226>")], boi_token="<start_of_image>"),
        "internlm 2, internvl": sentencepiece([special("<|im_start|>"), special("<|im_end|>"), special("<|action_start|>"), special("<img>"), special("<IMG_CONTEXT>")],
                                              {"tokenizer_class": "InternLM2Tokenizer", "pad_token": "</s>"}, None),
        "minicpm": sentencepiece([], {"add_bos_token": True, "add_eos_token": False}, normalizer=LEGACY),
        "llava 1.5": sentencepiece([special("<image>"), special("<pad>")], {"pad_token": "<pad>", "add_bos_token": True, "add_eos_token": False, "legacy": False}),
        "stablelm, gpt-neox": bytes_of(byte_level(False, True), [end, special("<|padding|>"), *spaces], {**gpt2, "tokenizer_class": "GPTNeoXTokenizer"},
                                       normalizer={"type": "NFC"}, post_processor=byte_level(False, True)),
        "stablelm 2": bytes_of(chain(split(QWEN)), [end, *im, special("<|fim_prefix|>")], {**gpt2, "bos_token": "<|endoftext|>"}, NO_AFFIX, normalizer={"type": "NFC"}),
        "starcoder2": bytes_of(sequence("pretokenizers", DIGITS, byte_level()), [end, special("<fim_prefix>"), special("<file_sep>")], gpt2),
        "falcon": bytes_of(sequence("pretokenizers", {"type": "Punctuation", "behavior": "Contiguous"}, byte_level(),
                                    {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]")),
                           [*map(special, (">>TITLE<<", ">>ABSTRACT<<", ">>QUESTION<<", "<|endoftext|>"))], {"tokenizer_class": FAST, "eos_token": "<|endoftext|>"}),
        "bloom": bytes_of(chain(split(BLOOM)), [special(t, normalized=True) for t in ("<unk>", "<s>", "</s>", "<pad>")],
                          {"tokenizer_class": "BloomTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_prefix_space": False},
                          post_processor=byte_level(True, False)),
        "opt": bytes_of(byte_level(), [special(t, normalized=True) for t in ("<s>", "<pad>", "</s>")],
                        {**gpt2, "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "add_bos_token": True}, post_processor=template("</s>")),
    }


# What a tokenizer can stumble over.
TEXTS = [
    "", " ", "  ", "\n", "\t", "a", " a", "a ", "  a  ", "The swage", "They're 12345 of 'em, ISN'T it? it isn't 'S", "swagger zzz 12345 isn't",
    "1 22 333 4444 55555 3.14 1,000,000 ١٢٣ ²³ Ⅻ ½ 1２3", "a\u00a0b\u2003c\u3000d\u2028e\u0085f\u1680g\u205fh\u202fi\u200bj\u180ek\ufeffl",
    "line\nline\r\nline\r\rline\n\n\n\nend\n", " \n \n  \n\t\n ", "x = [i for i in range(10)]  # a comment\n\treturn x\n        y", "trailing   ", "\n\n leading",
    "你好，世界。这是一个测试！１２３ 中文English混排", "こんにちは、カタカナ ﾊﾝｶｸ ーっ", "한국어 텍스트 \u1112\u1161\u11ab", "привет Мир ΣΊΣΥΦΟΣ Größe İstanbul ﬁne ǅ ǈ", "नमस्ते। दुनिया مرحبا، بالعالم۔ שלום ไทย",
    "🙂👍🏽👩‍👩‍👧🇩🇪 ☎️ ∑ ¥ $5 €10 ™", "e\u0301te\u0301 \u0301a A\u030a \u212b \u1e9b\u0323 q\u0307\u0323 \u0f71\u0f72", "\U0001f6dd\U0001fae0 \u20c0 \u0c5d \U00012f90 \U00016ac0", "a\x00b\x01c\x7fd\u0080",
    "x" * 300, " " * 70 + "y", "ab" * 150 + " " + "9" * 100, "!?!?..,,;;--==++//\\\\||``~~^^__##@@%%&&**(())[[]]{{}}<<>>", "don't DON'T we'Ve I'LL 'tis o'clock 'd'd 's",
    "<s>", "</s>", "a<s>b</s> c <s> d", " <s> ", "<s><s></s>", "<unk> unknown <pad>", "<|endoftext|>text<|endoftext|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|> assistant \n",
    "<|user|>\n Hello <|end|>\n<|assistant|>\n", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", "[INST] Hi [/INST] there", "<bos><start_of_turn>user\nHi<end_of_turn>\n",
    "<｜begin▁of▁sentence｜>Hi<｜User｜> you <｜Assistant｜>", "<image>\nWhat <|image_pad|><|vision_start|> <IMG_CONTEXT><img> is <|image|> it", "<think>\nhm\n</think>\n\n>>TITLE<<A>>QUESTION<<",
    "▁a ▁▁b▁ c▁d ▁", "<0x41><0x0A> <0xE4>", "<|im_start", "<|im_start|", "a\tb\t\tc\t\t\td", "(smith) \"quoted\" 'single' [1] {k: v} a/b https://example.org/x?y=1&z=2#f", "ＦＵＬＬ ｗｉｄｔｈ ！？～ “quotes” ‘q’ – — …",
    "wasn't .it , ok ? ' so ' n't", "camelCaseHTTPServer snake_case SCREAMING x86_64 v1.2.3-rc4", "\u0130\u0131 \u017f \u212a 'ſ 'K", "العدد ٣٫١٤ و ۱۲۳", "a" + "\u0301" * 40 + "b", "\U0010ffff \ue000 \ufffd",
]
