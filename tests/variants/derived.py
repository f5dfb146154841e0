"""Families whose code is not part of transformers: models that compute what a Llama or an InternVL of transformers computes.

Each entry names a family that transformers builds, what its configuration must say for the other family to be able to, and a
function that turns (config, tensors) of the one into those of the other.
"""
import torch


def renamed(tensors, *pairs):
    for old, new in pairs:
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    return tensors


def internlm2(config, tensors):
    """q, k and v in one tensor, key head by key head."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]

    def split(name, count):
        return tensors.pop(name).unflatten(0, (kv_heads, count, -1))
    for index in range(config["num_hidden_layers"]):
        for part in ("weight", "bias"):
            prefix = f"model.layers.{index}.self_attn."
            if prefix + "q_proj." + part in tensors:
                rows = [split(f"{prefix}{kind}_proj.{part}", heads // kv_heads if kind == "q" else 1) for kind in "qkv"]
                tensors[prefix + "wqkv." + part] = torch.cat(rows, 1).flatten(0, 2)
    config.update(model_type="internlm2", architectures=["InternLM2ForCausalLM"], bias=config.pop("attention_bias"))
    return config, renamed(
        tensors, ("self_attn.o_proj", "attention.wo"), ("self_attn.wqkv", "attention.wqkv"), ("input_layernorm", "attention_norm"),
        ("post_attention_layernorm", "ffn_norm"), ("mlp.gate_proj", "feed_forward.w1"), ("mlp.up_proj", "feed_forward.w3"),
        ("mlp.down_proj", "feed_forward.w2"), ("embed_tokens", "tok_embeddings"), ("lm_head", "output"))


def internlm3(config, tensors):
    config.update(model_type="internlm3", architectures=["InternLM3ForCausalLM"], qkv_bias=config.pop("attention_bias"),
                  bias=config.pop("mlp_bias"))
    return config, tensors


def minicpm(config, tensors):
    """Its three factors, taken out of the weights (powers of two leave them as they are)."""
    config.update(model_type="minicpm", architectures=["MiniCPMForCausalLM"], scale_emb=4, dim_model_base=16,
                  scale_depth=0.5 * config["num_hidden_layers"] ** 0.5)
    factors = {"embed_tokens": 1 / 4, "o_proj": 2, "down_proj": 2, "lm_head": config["hidden_size"] / 16}
    return config, {name: tensor * next((factor for key, factor in factors.items() if key in name), 1)
                    for name, tensor in tensors.items()}


def llava_original(config, tensors):
    """Without its vision tower, which lies in another checkpoint: texts."""
    config.update(model_type="llava_llama", architectures=["LlavaLlamaForCausalLM"], mm_projector_type="mlp2x_gelu",
                  mm_hidden_size=32)
    for name, shape in (("0.weight", (64, 32)), ("0.bias", (64,)), ("2.weight", (64, 64)), ("2.bias", (64,))):
        tensors["model.mm_projector." + name] = torch.randn(shape)
    return config, tensors


def internvl_original(config, tensors):
    vision = config.pop("vision_config")
    for index in range(vision["num_hidden_layers"]):
        for part in ("weight", "bias"):
            names = [f"vision_tower.encoder.layer.{index}.attention.{kind}_proj.{part}" for kind in "qkv"]
            if names[0] in tensors:
                tensors[names[0].replace("q_proj", "qkv")] = torch.cat([tensors.pop(name) for name in names])
    vision.update(qkv_bias=vision.pop("attention_bias", False), qk_normalization=vision.pop("use_qk_norm", False))
    for key in ("use_mean_pooling", "use_absolute_position_embeddings", "image_size", "patch_size"):
        size = vision.pop(key, None)
        if key.endswith("size"):
            vision[key] = size[0] if isinstance(size, list) else size
    config.update(model_type="internvl_chat", architectures=["InternVLChatModel"], vision_config=vision, ps_version="v2",
                  llm_config=config.pop("text_config"), img_context_token_id=config.pop("image_token_id"), select_layer=-1)
    return config, renamed(
        tensors, ("vision_tower.encoder.layer.", "vision_model.encoder.layers."), ("attention.projection_layer", "attn.proj"),
        ("attention.q", "attn.q"), ("attention.k", "attn.k"), ("layernorm_before", "norm1"), ("layernorm_after", "norm2"),
        ("lambda_", "ls"), ("vision_tower.", "vision_model."), ("cls_token", "class_embedding"),
        ("patch_embeddings.projection", "patch_embedding"), ("position_embeddings", "position_embedding"),
        ("multi_modal_projector.layer_norm", "mlp1.0"), ("multi_modal_projector.linear_1", "mlp1.1"),
        ("multi_modal_projector.linear_2", "mlp1.3"))


def internvl_internlm2(config, tensors):
    """In front of another family outside of transformers; files of InternVL2 do not say whether the head is tied."""
    config, tensors = internvl_original(config, tensors)
    prefix = "language_model."
    own = {name[len(prefix):]: tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}
    config["llm_config"], own = internlm2(config["llm_config"], own)
    for table in (config, config["llm_config"]):
        table.pop("tie_word_embeddings", None)
    return config, {**tensors, **{prefix + name: tensor for name, tensor in own.items()}}


# The original's norms of q and k obey layer_norm_eps, those of transformers have 1e-6 whatever it says.
ORIGINAL = {"vision_config.layer_norm_eps": 1e-6, "vision_feature_layer": -1, "projector_hidden_act": "gelu", "downsample_ratio": 0.5, "tie_word_embeddings": False,
            "vision_config.use_mean_pooling": True, "vision_config.use_absolute_position_embeddings": True}
LLAMA = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 2,
         "num_key_value_heads": 2, "max_position_embeddings": 512, "vocab_size": 128, "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0, "attention_bias": True}
MODELS = {
    "internlm2": ("llama", {"mlp_bias": False, "head_dim": None, "tie_word_embeddings": False, "attention_bias": True}, internlm2),
    "internlm3": ("llama", {"mlp_bias": True, "attention_bias": True, "head_dim": 24}, internlm3),
    "minicpm": ("llama", {"mlp_bias": False, "attention_bias": False, "head_dim": None, "tie_word_embeddings": False}, minicpm),
    "llava_original": ("llama", {"mlp_bias": False, "attention_bias": False, "head_dim": None}, llava_original),
    "internvl_original": ("internvl", {**ORIGINAL, "text_config.tie_word_embeddings": False}, internvl_original),
    "internvl_internlm2": ("internvl", {**ORIGINAL, "text_config": LLAMA}, internvl_internlm2),
}
