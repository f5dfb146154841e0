"""Checkpoints of large models without their weights: headers are whole, the data is a hole of the file.

headers.py deepseek_v3|llama_405b FOLDER [--shards N]

DeepSeek-V3 as it is published: 61 blocks, 256 experts, fp8 in blocks of 128, one draft layer. Llama
3.1 405B: 126 blocks in bf16.
"""
import argparse
import json
import os
import struct

BYTES = {"BF16": 2, "F32": 4, "F8_E4M3": 1}
BLOCK = 128  # rows and columns that share a scale


def linear(tensors, name, out, width, fp8=False):
    tensors[name + ".weight"] = ("F8_E4M3" if fp8 else "BF16", [out, width])
    if fp8:
        blocks = [-(-out // BLOCK), -(-width // BLOCK)]
        tensors[name + ".weight_scale_inv"] = ("F32", blocks)


def norm(tensors, name, width):
    tensors[name + ".weight"] = ("BF16", [width])


def mlp(tensors, name, hidden, wide, fp8):
    linear(tensors, name + ".gate_proj", wide, hidden, fp8)
    linear(tensors, name + ".up_proj", wide, hidden, fp8)
    linear(tensors, name + ".down_proj", hidden, wide, fp8)


def deepseek_block(tensors, config, index):
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    nope, rope = config["qk_nope_head_dim"], config["qk_rope_head_dim"]
    value, latent, query = config["v_head_dim"], config["kv_lora_rank"], config["q_lora_rank"]
    block = f"model.layers.{index}."
    norm(tensors, block + "input_layernorm", hidden)
    norm(tensors, block + "post_attention_layernorm", hidden)
    norm(tensors, block + "self_attn.q_a_layernorm", query)
    norm(tensors, block + "self_attn.kv_a_layernorm", latent)
    linear(tensors, block + "self_attn.q_a_proj", query, hidden, True)
    linear(tensors, block + "self_attn.q_b_proj", heads * (nope + rope), query, True)
    linear(tensors, block + "self_attn.kv_a_proj_with_mqa", latent + rope, hidden, True)
    linear(tensors, block + "self_attn.kv_b_proj", heads * (nope + value), latent, True)
    linear(tensors, block + "self_attn.o_proj", hidden, heads * value, True)
    if index < config["first_k_dense_replace"]:
        return mlp(tensors, block + "mlp", hidden, config["intermediate_size"], True)
    experts, wide = config["n_routed_experts"], config["moe_intermediate_size"]
    linear(tensors, block + "mlp.gate", experts, hidden)
    tensors[block + "mlp.gate.e_score_correction_bias"] = ("F32", [experts])
    mlp(tensors, block + "mlp.shared_experts", hidden, wide, True)
    for expert in range(experts):
        mlp(tensors, block + f"mlp.experts.{expert}", hidden, wide, True)


def deepseek_v3():
    config = {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
        "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432,
        "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128,
        "num_key_value_heads": 128, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "norm_topk_prob": True,
        "scoring_func": "sigmoid", "topk_method": "noaux_tc", "routed_scaling_factor": 2.5,
        "first_k_dense_replace": 3, "num_nextn_predict_layers": 1, "q_lora_rank": 1536,
        "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "max_position_embeddings": 163840, "rope_theta": 10000.0, "rms_norm_eps": 1e-6,
        "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                "weight_block_size": [BLOCK, BLOCK]}}
    tensors, hidden = {}, config["hidden_size"]
    linear(tensors, "model.embed_tokens", config["vocab_size"], hidden)
    linear(tensors, "lm_head", config["vocab_size"], hidden)
    norm(tensors, "model.norm", hidden)
    drafts = config["num_nextn_predict_layers"]
    for index in range(config["num_hidden_layers"] + drafts):
        deepseek_block(tensors, config, index)
    draft = f"model.layers.{config['num_hidden_layers']}."
    linear(tensors, draft + "embed_tokens", config["vocab_size"], hidden)
    linear(tensors, draft + "shared_head.head", config["vocab_size"], hidden)
    linear(tensors, draft + "eh_proj", hidden, 2 * hidden)
    for name in ("enorm", "hnorm", "shared_head.norm"):
        norm(tensors, draft + name, hidden)
    return config, tensors


def llama_405b():
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256,
        "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126,
        "num_attention_heads": 128, "num_key_value_heads": 8, "max_position_embeddings": 131072,
        "rope_theta": 500000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
        "torch_dtype": "bfloat16"}
    tensors, hidden = {}, config["hidden_size"]
    narrow = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    linear(tensors, "model.embed_tokens", config["vocab_size"], hidden)
    linear(tensors, "lm_head", config["vocab_size"], hidden)
    norm(tensors, "model.norm", hidden)
    for index in range(config["num_hidden_layers"]):
        block = f"model.layers.{index}."
        norm(tensors, block + "input_layernorm", hidden)
        norm(tensors, block + "post_attention_layernorm", hidden)
        for name, out in (("q", hidden), ("k", narrow), ("v", narrow), ("o", hidden)):
            linear(tensors, block + f"self_attn.{name}_proj", out, hidden)
        mlp(tensors, block + "mlp", hidden, config["intermediate_size"], False)
    return config, tensors


def write_shard(path, tensors):
    """A file of these tensors, sparse: as long as its header says."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        begin, size = end, BYTES[dtype]
        for side in shape:
            size *= side
        end = begin + size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def write(folder, config, tensors, shards=1):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    if shards == 1:
        return write_shard(os.path.join(folder, "model.safetensors"), tensors)
    names, places = list(tensors), {}
    for shard in range(shards):
        own = names[shard * len(names) // shards:(shard + 1) * len(names) // shards]
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        write_shard(os.path.join(folder, file), {name: tensors[name] for name in own})
        places.update({name: file for name in own})
    with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as file:
        json.dump({"metadata": {}, "weight_map": places}, file)


MODELS = {"deepseek_v3": deepseek_v3, "llama_405b": llama_405b}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("folder")
    parser.add_argument("--shards", type=int, default=1)
    arguments = parser.parse_args()
    write(arguments.folder, *MODELS[arguments.model](), arguments.shards)
