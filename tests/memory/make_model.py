#!/usr/bin/env python3
"""Makes a large model of random weights, to measure what a run needs as models grow.

    make_model.py dense DIR --layers 200     Llama: hidden 1024, intermediate 4096, vocabulary 8192, bfloat16
    make_model.py experts DIR --layers 40    DeepSeek-V3: 256 experts of hidden 256 and width 256, fp8 in blocks of 128 x 128

Beside the checkpoint lies calibration.json: 8 sequences of 128 token ids. Needs nothing but Python. Values come from one
pool of random numbers, cut at random places, so that gigabytes are made in seconds.
"""
import argparse
import json
import os
import random
import struct

VOCABULARY = 8192
POOL = 1 << 20


def bf16(value):
    return struct.pack("<f", value)[2:]


class Shards:
    """Writes one safetensors file per call of close(), and their index."""

    def __init__(self, folder):
        self.folder, self.tensors, self.index, self.bytes = folder, [], {}, 0

    def put(self, name, dtype, shape, data):
        self.tensors.append((name, dtype, shape, data))

    def close(self):
        file = "model-%05d.safetensors" % len(set(self.index.values()))
        header, end = {}, 0
        for name, dtype, shape, data in self.tensors:
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
            end += len(data)
            self.index[name] = file
        text = json.dumps(header).encode()
        with open(os.path.join(self.folder, file), "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            for *_, data in self.tensors:
                out.write(data)
        self.tensors, self.bytes = [], self.bytes + end

    def finish(self):
        with open(os.path.join(self.folder, "model.safetensors.index.json"), "w") as out:
            json.dump({"metadata": {"total_size": self.bytes}, "weight_map": self.index}, out)


class Values:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.normal = b"".join(bf16(self.random.gauss(0, 0.03)) for _ in range(POOL))
        # e4m3 of either sign between 2^-3 and 2^3
        self.fp8 = bytes(self.random.randrange(0x20, 0x50) | self.random.choice((0, 0x80)) for _ in range(POOL))

    def cut(self, pool, size):
        start = self.random.randrange(len(pool) // 2) & ~1
        return (pool[start:] + pool * (size // len(pool) + 1))[:size]

    def matrix(self, shards, name, out, columns):
        shards.put(name + ".weight", "BF16", [out, columns], self.cut(self.normal, out * columns * 2))

    def vector(self, shards, name, size, value):
        shards.put(name, "BF16", [size], bf16(value) * size)

    def blocks(self, shards, name, out, columns):
        shards.put(name + ".weight", "F8_E4M3", [out, columns], self.cut(self.fp8, out * columns))
        rows, tiles = -(-out // 128), -(-columns // 128)
        scales = [self.random.uniform(0.01, 0.03) for _ in range(rows * tiles)]
        shards.put(name + ".weight_scale_inv", "F32", [rows, tiles], struct.pack("<%df" % len(scales), *scales))


def dense(shards, values, layers):
    hidden, wide = 1024, 4096
    for layer in range(layers):
        block = "model.layers.%d." % layer
        for name in "qkvo":
            values.matrix(shards, block + "self_attn.%s_proj" % name, hidden, hidden)
        for name, out, columns in (("gate", wide, hidden), ("up", wide, hidden), ("down", hidden, wide)):
            values.matrix(shards, block + "mlp.%s_proj" % name, out, columns)
        for name in ("input_layernorm", "post_attention_layernorm"):
            values.vector(shards, block + name + ".weight", hidden, 1.0)
        shards.close()
    ends(shards, values, hidden)
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": wide,
            "num_hidden_layers": layers, "num_attention_heads": 16, "num_key_value_heads": 16, "rms_norm_eps": 1e-5}


def experts(shards, values, layers):
    hidden, wide, heads, rank, nope, rope, value = 256, 256, 4, 128, 64, 64, 64
    for layer in range(layers):
        block = "model.layers.%d." % layer
        attention = block + "self_attn."
        values.blocks(shards, attention + "q_a_proj", rank, hidden)
        values.blocks(shards, attention + "q_b_proj", heads * (nope + rope), rank)
        values.blocks(shards, attention + "kv_a_proj_with_mqa", rank + rope, hidden)
        values.blocks(shards, attention + "kv_b_proj", heads * (nope + value), rank)
        values.blocks(shards, attention + "o_proj", hidden, heads * value)
        for name, size in (("self_attn.q_a_layernorm", rank), ("self_attn.kv_a_layernorm", rank),
                           ("input_layernorm", hidden), ("post_attention_layernorm", hidden)):
            values.vector(shards, block + name + ".weight", size, 1.0)
        modules = ["mlp.experts.%d" % i for i in range(256)] + ["mlp.shared_experts"]
        for module in ["mlp"] if layer == 0 else modules:
            for name in ("gate", "up", "down"):
                values.blocks(shards, block + module + ".%s_proj" % name, wide, hidden)
        if layer > 0:
            values.matrix(shards, block + "mlp.gate", 256, hidden)
            shards.put(block + "mlp.gate.e_score_correction_bias", "F32", [256], bytes(4 * 256))
        shards.close()
    ends(shards, values, hidden)
    return {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": hidden,
            "intermediate_size": wide, "moe_intermediate_size": wide, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": heads, "n_routed_experts": 256, "n_shared_experts": 1,
            "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
            "first_k_dense_replace": 1, "q_lora_rank": rank, "kv_lora_rank": rank, "qk_nope_head_dim": nope,
            "qk_rope_head_dim": rope, "v_head_dim": value,
            "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128],
                                    "activation_scheme": "dynamic"}}


def ends(shards, values, hidden):
    values.matrix(shards, "model.embed_tokens", VOCABULARY, hidden)
    values.vector(shards, "model.norm.weight", hidden, 1.0)
    values.matrix(shards, "lm_head", VOCABULARY, hidden)
    shards.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("dense", "experts"))
    parser.add_argument("folder")
    parser.add_argument("--layers", type=int, required=True)
    args = parser.parse_args()
    os.makedirs(args.folder)
    shards, values = Shards(args.folder), Values(args.layers)
    config = (dense if args.kind == "dense" else experts)(shards, values, args.layers)
    shards.finish()
    config.update(vocab_size=VOCABULARY, max_position_embeddings=2048, torch_dtype="bfloat16", tie_word_embeddings=False)
    with open(os.path.join(args.folder, "config.json"), "w") as out:
        json.dump(config, out, indent=1)
    ids = [[values.random.randrange(VOCABULARY) for _ in range(128)] for _ in range(8)]
    with open(os.path.join(args.folder, "calibration.json"), "w") as out:
        json.dump({"input_ids": ids}, out)


if __name__ == "__main__":
    main()
