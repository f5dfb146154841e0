"""The engine profile vllm-0.32 and vLLM's CPU build about the same checkpoints: what `swage check` says of serve =
"vllm-0.32", device = "cpu" is what vLLM does. Each checkpoint is loaded, and makes a token, in a process of its own."""
import json, os, re, subprocess, sys

PROFILE = "vllm-0.32"
SWAGE = os.environ["SWAGE_BUILD_DIR"] + "/bin/swage"
SOURCE = os.environ["SWAGE_SOURCE_DIR"]
STATIC = 'granularity = "tensor", dynamic = false'
ROWS = 'weight = { bits = 8, granularity = "channel" }\n'
OVERRIDE = '[[step.override]]\nmatch = "*.k_proj"\n'
W4 = 'weight = { bits = 4, group = 64, scale_dtype = "bf16" }\n'
CASES = {  # exporter, scheme
    "w4": ("compressed-tensors", W4),
    "w4-asymmetric": ("compressed-tensors", 'weight = { bits = 4, group = 64, symmetric = false, scale_dtype = "bf16" }\n'),
    "w3": ("compressed-tensors", 'weight = { bits = 3, group = 64, scale_dtype = "bf16" }\n'),
    "w8": ("compressed-tensors", 'weight = { bits = 8, group = 64, scale_dtype = "bf16" }\n'),
    "w8a8": ("compressed-tensors", ROWS + "activation = { bits = 8 }\n"),
    "w8a8-static": ("compressed-tensors", ROWS + f"activation = {{ bits = 8, {STATIC} }}\n"),
    "fp8": ("compressed-tensors", 'weight = { format = "fp8-e4m3" }\nactivation = { format = "fp8-e4m3" }\n'),
    "fp8-static": ("compressed-tensors", 'weight = { format = "fp8-e4m3", granularity = "tensor", share = "fused" }\n'
                                         f'activation = {{ format = "fp8-e4m3", {STATIC} }}\n'),
    "nvfp4": ("compressed-tensors", 'weight = { format = "nvfp4" }\n'),
    "unequal": ("compressed-tensors", W4 + OVERRIDE + "weight = { group = 32 }\n"),
    "partly-kept": ("compressed-tensors", W4 + OVERRIDE + "keep = true\n"),
    "gptq": ("gptq", W4),
    "gptq-w8": ("gptq", 'weight = { bits = 8, group = 64 }\n'),
    "gptq-asymmetric": ("gptq", 'weight = { bits = 4, group = 64, symmetric = false }\n'),
    "awq": ("awq", 'weight = { bits = 4, group = 64, symmetric = false }\n'),
}
RECIPE = """[model]
path = "{folder}/model"
[calibration]
source = "{source}/configs/data/calibration.txt"
samples = 4
length = 64
[[step]]
use = "rtn"
{scheme}
[[export]]
use = "{use}"
path = "{folder}/{name}"
[run]
work = "{folder}/run-{name}"
verify_windows = 0
"""
CONFIG = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=256, intermediate_size=512, num_hidden_layers=2,
              num_attention_heads=4, num_key_value_heads=2, head_dim=64, vocab_size=512, rms_norm_eps=1e-5, rope_theta=10000.0,
              hidden_act="silu", max_position_embeddings=512, tie_word_embeddings=False, torch_dtype="bfloat16", bos_token_id=1,
              eos_token_id=2, attention_bias=False, mlp_bias=False)


def make_model(folder):
    import torch
    from safetensors.torch import save_file
    torch.manual_seed(7)
    shapes = {"model.embed_tokens": (512, 256), "lm_head": (512, 256), "model.norm": (256,)}
    for layer in range(2):
        path = f"model.layers.{layer}."
        shapes |= {path + name: shape for name, shape in {
            "self_attn.q_proj": (256, 256), "self_attn.k_proj": (128, 256), "self_attn.v_proj": (128, 256),
            "self_attn.o_proj": (256, 256), "mlp.gate_proj": (512, 256), "mlp.up_proj": (512, 256), "mlp.down_proj": (256, 512),
            "input_layernorm": (256,), "post_attention_layernorm": (256,)}.items()}
    tensors = {f"{name}.weight": (torch.ones(shape) if len(shape) == 1 else torch.randn(shape) / 16).bfloat16()
               for name, shape in shapes.items()}
    os.makedirs(folder)
    save_file(tensors, folder + "/model.safetensors", {"format": "pt"})
    json.dump(CONFIG, open(folder + "/config.json", "w"))
    with open(SOURCE + "/tests/data/bytes/tokenizer.json", "rb") as source, open(folder + "/tokenizer.json", "wb") as copy:
        copy.write(source.read())


def load(folder):
    os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_CPU_NUM_OF_RESERVED_CPU="0",
                      VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1")
    import torch
    from vllm import LLM, SamplingParams
    torch._C._cpu._init_amx()  # Linux kills who uses tiles without having asked for them, and vLLM 0.32 does not ask
    llm = LLM(model=folder, skip_tokenizer_init=True, dtype="bfloat16", enforce_eager=True, max_model_len=64, max_num_seqs=1,
              max_num_batched_tokens=64, disable_log_stats=True)
    llm.generate([{"prompt_token_ids": [5, 6, 7, 8]}], SamplingParams(max_tokens=1, detokenize=False), use_tqdm=False)


def swage(*arguments):
    return subprocess.run([SWAGE, *arguments], capture_output=True, text=True)


def reason(text):
    """The last line of a traceback that names an error."""
    lines = [line for line in text.splitlines() if re.match(r"\s*(\w+\.)*\w*(Error|Exception)\b", line)]
    return (lines or text.splitlines() or [""])[-1].strip()[:150]


def main(folder):
    make_model(folder + "/model")
    exporters = swage("plugins").stdout
    wrong, seen = 0, {True: 0, False: 0}
    for name, (use, scheme) in CASES.items():
        if not re.search(rf"^exporter +{use} ", exporters, re.M):
            print(f"{name:16} skipped: there is no exporter {use}")
            continue
        recipe = f"{folder}/{name}.toml"
        with open(recipe, "w") as file:
            file.write(RECIPE.format(folder=folder, source=SOURCE, scheme=scheme, use=use, name=name))
        said = swage("check", recipe, "--set", f"export.{use}.serve={PROFILE}", "--set", f"export.{use}.device=cpu")
        if said.returncode not in (0, 3):
            raise SystemExit(f"{name}: swage check: {said.stderr}")
        run = swage("run", recipe, "--quiet")
        if run.returncode != 0:
            raise SystemExit(f"{name}: swage run: {run.stderr}")
        read = subprocess.run([sys.executable, __file__, "load", f"{folder}/{name}"], capture_output=True, text=True)
        if read.returncode < 0:
            raise SystemExit(f"{name}: vLLM was killed by signal {-read.returncode}:\n{read.stderr[-2000:]}")
        serves, loads = said.returncode == 0, read.returncode == 0
        seen[loads] += 1
        wrong += serves != loads
        print(f"{name:16} profile {'takes' if serves else 'refuses':8} vLLM {'takes' if loads else 'refuses':8}"
              f"{'' if serves == loads else 'WRONG'} {'' if loads else reason(read.stderr)}", flush=True)
    print(f"{sum(seen.values())} checkpoints, {seen[True]} loaded, {seen[False]} refused, {wrong} otherwise than the profile says")
    return int(wrong > 0 or sum(seen.values()) < 10 or 0 in seen.values())


if __name__ == "__main__":
    sys.exit(load(sys.argv[2]) if sys.argv[1] == "load" else main(sys.argv[2]))
