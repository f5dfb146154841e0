"""vLLM reads what Swage exports, on its CPU backend."""
import gc, os, shutil, sys

os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_CPU_NUM_OF_RESERVED_CPU="0",
                  VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1")
from vllm import LLM, SamplingParams
import checkpoint
from comparison import Table, divergence, perplexity
from recipe import ACTIVATIONS, DENSE, PACKED, STEPS, Workbench

UNREAD = {  # by vLLM's CPU kernels; with_transformers.py reads them
    "w3-asymmetric": "3 bits", "w8": "8 bits of weights alone", "mixed": "8 bits of weights alone",
    "fp8-static": "static fp8 activations",
}


def logits(folder, ids, dtype):
    """Logits of every position that predicts another one, [windows, tokens - 1, vocabulary]."""
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
    del llm
    gc.collect()
    if len(rows) != len(ids):
        raise SystemExit(f"{folder}: vLLM gave logits of {len(rows)} windows, expected {len(ids)}")
    return rows


def compare(case, bench, table):
    folder, run_perplexity = bench.run(case)
    packed, dense = folder + "/" + PACKED, folder + "/" + DENSE
    own = bench.logits(packed)[:, :-1]
    if case in ACTIVATIONS:
        effect = divergence(own, bench.logits(dense)[:, :-1])
        read = logits(packed, bench.ids, "float32")
        table.below(case, "KL of 2 blocks to Swage's logits", divergence(own, read), effect / 10,
                    "fp32; a tenth of what quantized activations change")
    else:
        read = logits(packed, bench.ids, "float16")
        table.below(case, "KL to Swage's logits", divergence(own, read), 1e-4, "fp16")
        table.perplexity(case, run_perplexity, perplexity(read, bench.ids))
    if case == "w4":
        read = logits(dense, bench.ids, "float16")
        table.below(case + " dense", "KL to Swage's logits", divergence(own, read), 1e-4, "fp16")
        table.perplexity(case + " dense", run_perplexity, perplexity(read, bench.ids))
        checkpoint.flipped(packed, folder + "/flipped", 10)
        table.must_fail(f"{case}: a bit of a scale's exponent flipped", lambda: table.below(
            case, "KL to Swage's logits", divergence(own, logits(folder + "/flipped", bench.ids, "float16")), 1e-4))
    shutil.rmtree(folder)


def main(kind, folder):
    bench, table = Workbench(kind, folder), Table("vLLM on CPUs")
    print("weights: vLLM does not show them, its kernels repack them")
    for case in STEPS:
        if case in UNREAD:
            print(f"{case:15} not read by vLLM's CPU kernels: {UNREAD[case]}")
        else:
            compare(case, bench, table)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
