"""vLLM reads what Swage exports, on its CPU backend. It does not show weights: its kernels repack them."""
import contextlib, gc, os, shutil, sys

os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_CPU_NUM_OF_RESERVED_CPU="0",
                  VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1")
import torch
from vllm import LLM, SamplingParams
from vllm.platforms import current_platform
import checkpoint, gptq_files, vllm_kernels
from comparison import STEPS, Table, divergence, perplexity
from recipe import ALL, Workbench
from vllm_awq import compare_awq

UNREAD = {"w3-asymmetric": "3 bits", "w8": "8 bits of weights alone", "mixed": "8 bits of weights alone",
          "int4-dynamic": "4 bits of activations",
          "fp8-static": "static activations in fp8"}
WEIGHTS = (("w4", "fp16"), ("w4-asymmetric", "fp16"), *[("w4", "bf16")] * ALL)


def logits(folder, ids, dtype):
    """Logits of every position that predicts another one, [windows, tokens - 1, vocabulary]."""
    return read_both(folder, ids, dtype, None)[0]


def read_both(folder, ids, dtype, prompt):
    """These, and the tokens that vLLM goes on with after a prompt."""
    llm = LLM(model=folder, dtype=dtype, enforce_eager=True, max_model_len=ids.shape[1] + 1, max_num_seqs=1,
              max_num_batched_tokens=ids.shape[1] + 1, enable_prefix_caching=False, disable_log_stats=True)
    rows = []

    def watch(model):
        compute = model.compute_logits

        def watched(*arguments, **options):
            result = compute(*arguments, **options)
            if len(result) == ids.shape[1] - 1:
                rows.append(result.float().clone())
            return result
        model.compute_logits = watched
    llm.apply_model(watch)
    prompts = [{"prompt_token_ids": window} for window in ids.tolist()]
    llm.generate(prompts, SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False), use_tqdm=False)
    how = SamplingParams(temperature=0, max_tokens=STEPS, ignore_eos=True, detokenize=False)
    tokens = prompt and llm.generate([{"prompt_token_ids": prompt}], how, use_tqdm=False)[0].outputs[0].token_ids
    del llm
    gc.collect()
    if len(rows) != len(ids):
        raise SystemExit(f"{folder}: vLLM gave logits of {len(rows)} windows, expected {len(ids)}")
    return rows, tokens


def compare_both(name, packed, bench, table):
    """Logits of weights that alone are quantized, and tokens, in fp16."""
    read, tokens = read_both(packed, bench.ids, "float16", bench.prompt)
    table.logits(name, divergence(bench.logits(packed)[:, :-1], read), 1e-4)
    table.greedy(name, bench.prompt, lambda *_: tokens, lambda ids: bench.logits(packed, ids), 0.1)
    return read


def compare_weights(case, scales, bench, table):
    folder, run_perplexity = bench.run(case, scales)
    packed, name = folder + "/packed", f"{case} {scales}"
    own, read = bench.logits(packed)[:, :-1], compare_both(name, packed, bench, table)
    # vLLM computes with codes times scales rounded to fp16. Scales in bf16 let Swage round to bf16, eight times coarser.
    table.perplexity(name, run_perplexity, perplexity(read, bench.ids), 0.05 if scales == "fp16" else None)
    if (case, scales) == ("w4", "fp16"):
        read = logits(folder + "/dense", bench.ids, "float16")
        table.logits(name + " dense", divergence(own, read), 1e-4)
        table.perplexity(name + " dense", run_perplexity, perplexity(read, bench.ids))
        checkpoint.flipped(packed, folder + "/flipped", "weight_scale", 11)
        table.must_fail(f"{name} with one bit of one scale flipped", lambda: table.logits(
            name, divergence(own, logits(folder + "/flipped", bench.ids[:1], "float16")), 1e-4))
    shutil.rmtree(folder)


def compare_gptq(case, bench, table):
    """GPTQ's files; joined matrices are found by the rules of `dynamic`."""
    folder = gptq_files.write(bench, case)
    compare_both(case, folder + "/packed", bench, table)
    if ALL:
        own = bench.logits(folder + "/packed")[:, :-1]
        checkpoint.flipped(folder + "/packed", folder + "/flipped", "scales", 11, "qweight")
        table.must_fail(f"{case} with one bit of one scale flipped", lambda: table.logits(
            case, divergence(own, logits(folder + "/flipped", bench.ids[:1], "float16")), 1e-4))
    shutil.rmtree(folder)


def compare_activations(case, bench, table, saturate):
    folder, _ = bench.run(case, "auto")
    # On processors without fp8 oneDNN multiplies such numbers one by one.
    windows, tokens = (1, 128) if case.startswith("fp8") else bench.ids.shape
    own, floats = (bench.logits(folder + export)[:windows, :tokens - 1] for export in ("/packed", "/dense"))
    ids = bench.ids[:windows, :tokens]
    effect = divergence(own, floats)
    int8 = case.startswith("int8")
    if int8 and saturate:  # what this processor serves; Swage computes what others serve
        table.noise(case + " saturated", divergence(own, logits(folder + "/packed", ids, "float32")), effect, None)
    with vllm_kernels.exact_products() if int8 and saturate else contextlib.nullcontext():
        read = logits(folder + "/packed", ids, "float32")
    table.noise(case, divergence(own, read), effect, 1 / 2)
    shutil.rmtree(folder)


def main(kind, folder):
    bench = Workbench(kind, folder, 512, 4)  # in fp16 fewer tokens leave perplexity 0.06 % of noise
    table = Table("vLLM on CPUs, fp16 where weights alone are quantized, fp32 where activations are")
    current_platform.import_kernels()
    unread = dict(UNREAD)
    if hasattr(torch.ops._C, "cpu_gemm_wna16"):
        for case, scales in WEIGHTS:
            compare_weights(case, scales, bench, table)
        for case in ("gptq-w4-rules", *["gptq-w4-v2", "auto-round-w4", "auto-round-w4-rules"] * ALL):
            compare_gptq(case, bench, table)
        compare_awq(bench, table, logits, compare_both)
    else:  # its library for processors with AVX2 alone is built without that kernel
        unread.update({case: "weights alone on a processor without AVX-512" for case, _ in WEIGHTS})
    saturate = vllm_kernels.products_saturate()
    with vllm_kernels.without_amx():
        for case in ("int8-dynamic", "int8-static", "fp8-dynamic"):
            compare_activations(case, bench, table, saturate)
    for case, reason in unread.items():
        print(f"{case:20} not read by vLLM's kernels for CPUs ({reason}); transformers and compressed-tensors read it")
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
