#!/usr/bin/env python3
"""Makes the small models `*_variant*` beside this file: switches of a family that its main model leaves at their defaults.

    make_variants.py [NAME ...]

Needs transformers 5.23 and torch. Every parameter is random, norms and biases too: fresh norms of 1 and biases of 0 hide
mistakes. Each folder holds config_min.json (what is set here), config.json (what transformers makes of it),
model.safetensors and io.safetensors: input_ids, hidden_0 … hidden_L (the last after the final norm) and logits in fp32.
"""
import json, os, sys
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 2,
         "num_key_value_heads": 2, "max_position_embeddings": 128, "vocab_size": 128, "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0}
VARIANTS = {
    "llama_biased": {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "head_dim": 24, "tie_word_embeddings": True},
    "llama_dynamic": {"model_type": "llama", "max_position_embeddings": 16, "rope_theta": 10000.0,
                      "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    "qwen2_windows": {"model_type": "qwen2", "num_hidden_layers": 3, "max_window_layers": 1, "sliding_window": 8,
                      "use_sliding_window": True},
    "phi4_mini": {"model_type": "phi3", "original_max_position_embeddings": 16, "partial_rotary_factor": 0.75,
                  "tie_word_embeddings": True, "rope_scaling": {"type": "longrope", "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
                                                                "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]}},
    "phi_head_norms": {"model_type": "phi", "num_key_value_heads": 4, "qk_layernorm": True},
    "opt_narrow": {"model_type": "opt", "do_layer_norm_before": False, "ffn_dim": 96, "word_embed_proj_dim": 32},
    "stablelm_parallel": {"model_type": "stablelm", "qk_layernorm": True, "use_parallel_residual": True},
    "bloom_residual": {"model_type": "bloom", "n_head": 4, "n_layer": 2, "apply_residual_connection_post_layernorm": True},
    "bloom_six_heads": {"model_type": "bloom", "n_head": 6, "n_layer": 1, "hidden_size": 48},
    "falcon_one_norm": {"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    "gemma3_types": {"model_type": "gemma3_text", "num_hidden_layers": 3, "head_dim": 16, "query_pre_attn_scalar": 24,
                     "sliding_window": 8, "attention_bias": True, "final_logit_softcapping": 4.0,
                     "layer_types": ["full_attention", "sliding_attention", "full_attention"]},
    "granite": {"model_type": "granite", "embedding_multiplier": 3.0, "logits_scaling": 4.0, "residual_multiplier": 0.3,
                "attention_multiplier": 0.2},
    "olmo": {"model_type": "olmo"},
    "olmo2": {"model_type": "olmo2"},
    "olmo3": {"model_type": "olmo3", "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "cohere": {"model_type": "cohere", "use_qk_norm": True, "logit_scale": 0.5},
    "cohere2": {"model_type": "cohere2", "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt_neox": {"model_type": "gpt_neox"},
    "nemotron": {"model_type": "nemotron"},
    "glm": {"model_type": "glm", "head_dim": 16},
    "glm4": {"model_type": "glm4", "head_dim": 16},
    "glm4_moe": {"model_type": "glm4_moe", "first_k_dense_replace": 1, "moe_intermediate_size": 32, "n_routed_experts": 8,
                 "num_experts_per_tok": 2, "use_qk_norm": True, "routed_scaling_factor": 1.5},
    "exaone4": {"model_type": "exaone4", "sliding_window": 8, "sliding_window_pattern": 2},
    "seed_oss": {"model_type": "seed_oss", "head_dim": 16},
    "arcee": {"model_type": "arcee", "mlp_bias": True},
    "ernie4_5": {"model_type": "ernie4_5", "head_dim": 16},
    "smollm3_windows": {"model_type": "smollm3", "num_hidden_layers": 3, "no_rope_layers": [0, 1, 0], "use_sliding_window": True,
                        "sliding_window": 6},
}
OWN_SIZES = {"gpt_neox": ("num_key_value_heads",), "opt": ("intermediate_size", "num_key_value_heads"), "bloom": tuple(SIZES)[1:6],
             "falcon": ("intermediate_size", "num_key_value_heads")}


def save_random(model, given, folder):
    """Gives every parameter random values and writes model.safetensors and both configurations."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3 + (parameter.mean() > 0.5))
            else:
                parameter.copy_(torch.randn_like(parameter) * 0.15)
    model.save_pretrained(folder)
    os.remove(folder + "/generation_config.json")
    with open(folder + "/config.json") as file:
        architectures = json.load(file)["architectures"]
    with open(folder + "/config_min.json", "w") as file:
        json.dump({"architectures": architectures, **given}, file, indent=2, sort_keys=True)


def make(name, folder):
    own = VARIANTS[name]
    sizes = {key: value for key, value in SIZES.items() if key not in OWN_SIZES.get(own["model_type"], ())}
    given = {**sizes, **own}
    os.makedirs(folder, exist_ok=True)
    config = AutoConfig.for_model(**given)
    config._attn_implementation = "eager"
    torch.manual_seed(sum(map(ord, name)))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    save_random(model, given, folder)
    ids = torch.randint(3, config.vocab_size, (1, 24))
    with torch.no_grad():
        out = model(ids, output_hidden_states=True)
    tensors = {f"hidden_{i}": state.contiguous().clone() for i, state in enumerate(out.hidden_states)}
    save_file({"input_ids": ids, "logits": out.logits.contiguous().clone(), **tensors}, folder + "/io.safetensors")
    print(name, [f for f in os.listdir(folder)], config.architectures)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    for name in sys.argv[1:] or VARIANTS:
        make(name, os.path.join(here, name))
