"""What a configuration may say: for every family the values that each of its keys takes in a random model.

A key stands in a sample half of the time, so that defaults are met too; keys of SIZES always stand in it, since the published
sizes are too large. IRRELEVANT is what changes no forward pass; compare.py names keys of a configuration class that are in
none of these tables.
"""
ACTIVATIONS = ["silu", "gelu", "relu", "gelu_pytorch_tanh", "gelu_new", "quick_gelu", "relu2", "swish", "gelu_fast"]
ACT = {"hidden_act": ACTIVATIONS}
EPS = {"rms_norm_eps": [1e-5, 1e-3]}
TIE = {"tie_word_embeddings": [True, False]}
WINDOW = {"sliding_window": [5, 9, None], "use_sliding_window": [True, False]}
LAYERS = {"layer_types": "layer_types"}
HEAD = {"head_dim": [8, 24, 32]}
BASE = {**ACT, **EPS, **TIE}
ROPE = {"rope": ["default", "linear", "dynamic", "llama3", "yarn", "longrope"]}
PARTIAL = {"partial_rotary_factor": [0.25, 0.5, 0.75]}

SIZES = {"hidden_size": [64], "intermediate_size": [96, 80], "num_attention_heads": [4], "num_key_value_heads": [1, 2, 4],
         "num_hidden_layers": [2, 3], "max_position_embeddings": [16, 64, 128], "vocab_size": [128, 131],
         "bos_token_id": [1], "eos_token_id": [2], "pad_token_id": [0]}
MOE = {"moe_intermediate_size": [24, 40], "num_experts": [4, 6], "num_experts_per_tok": [1, 2, 3],
       "shared_expert_intermediate_size": [24, 48]}
LATENT = {"kv_lora_rank": [16], "qk_nope_head_dim": [16, 8], "qk_rope_head_dim": [8, 16], "v_head_dim": [16, 12],
          "moe_intermediate_size": [24], "n_routed_experts": [16], "num_experts_per_tok": [2, 3], "n_shared_experts": [1, 2],
          "first_k_dense_replace": [0, 1, 2], "q_lora_rank": [None, 24]}
IRRELEVANT = {"initializer_range", "use_cache", "attention_dropout", "resid_pdrop", "embd_pdrop", "hidden_dropout", "dropout",
              "residual_dropout", "embedding_dropout", "router_aux_loss_coef", "output_router_logits", "router_jitter_noise",
              "pretraining_tp", "slow_but_exact", "layerdrop", "init_std", "num_mtp_layers", "rope_parameters",
              "hidden_dropout_prob", "projection_dropout", "classifier_dropout", "is_decoder"}


def sizes(*without, **changed):
    return {**{key: values for key, values in SIZES.items() if key not in without}, **changed}


# model_type: (keys that always stand, keys that may stand)
FAMILIES = {
    "llama": (sizes(), {**BASE, **ROPE, **HEAD, "attention_bias": [True, False], "mlp_bias": [True, False]}),
    "mistral": (sizes(), {**BASE, **ROPE, **HEAD, "sliding_window": [5, 9, None]}),
    "qwen2": (sizes(), {**BASE, **ROPE, **WINDOW, **LAYERS, "max_window_layers": [0, 1, 2]}),
    "qwen3": (sizes(), {**BASE, **ROPE, **WINDOW, **LAYERS, "max_window_layers": [0, 1, 2], "head_dim": [8, 24, 32],
                        "attention_bias": [True, False]}),
    "qwen2_moe": (sizes(**MOE), {**BASE, **ROPE, **WINDOW, **LAYERS, "max_window_layers": [0, 1, 2],
                                 "decoder_sparse_step": [1, 2], "mlp_only_layers": [[], [0], [1]],
                                 "norm_topk_prob": [True, False], "qkv_bias": [True, False]}),
    "qwen3_moe": (sizes(**{k: v for k, v in MOE.items() if k[0] != "s"}),
                  {**BASE, **ROPE, **WINDOW, **HEAD, "decoder_sparse_step": [1, 2], "mlp_only_layers": [[], [0], [1]],
                   "norm_topk_prob": [True, False], "attention_bias": [True, False]}),
    "mixtral": (sizes(num_local_experts=[4, 6], num_experts_per_tok=[1, 2, 3]),
                {**BASE, **ROPE, **HEAD, "sliding_window": [5, 9, None]}),
    "deepseek_v2": (sizes(num_key_value_heads=[4], **LATENT, n_group=[1, 4], topk_group=[1, 2]),
                    {**BASE, "rope": ["default", "linear", "yarn"], "attention_bias": [True, False], "mlp_bias": [True, False],
                     "topk_method": ["greedy", "group_limited_greedy"], "norm_topk_prob": [True, False],
                     "routed_scaling_factor": [1.0, 2.5],
                     "head_dim": [24]}),
    "deepseek_v3": (sizes(num_key_value_heads=[4], **LATENT, n_group=[1, 2, 4], topk_group=[1, 2]),
                    {**BASE, "rope": ["default", "linear", "yarn"], "attention_bias": [True, False],
                     "rope_interleave": [True, False], "norm_topk_prob": [True, False], "routed_scaling_factor": [1.0, 2.5]}),
    "phi": (sizes(), {**ACT, **TIE, **ROPE, **PARTIAL, "layer_norm_eps": [1e-3], "qk_layernorm": [True, False]}),
    "phi3": (sizes(original_max_position_embeddings=[16]),
             {**BASE, "rope": ["default", "longrope"], **PARTIAL, "sliding_window": [5, 9, None]}),
    "gemma2": (sizes(head_dim=[16, 24]),
               {**EPS, **TIE, **ROPE, **LAYERS, "hidden_activation": ACTIVATIONS, "attention_bias": [True, False],
                "query_pre_attn_scalar": [16, 20], "sliding_window": [5, 9], "final_logit_softcapping": [4.0, None],
                "attn_logit_softcapping": [4.0, None], "use_bidirectional_attention": [False, None]}),
    "gemma3_text": (sizes(head_dim=[16, 24]),
                    {**EPS, **TIE, "rope": ["default", "linear", "dynamic", "yarn"], **LAYERS, "hidden_activation": ACTIVATIONS,
                     "attention_bias": [True, False], "query_pre_attn_scalar": [16, 20], "sliding_window": [5, 9],
                     "final_logit_softcapping": [4.0, None], "attn_logit_softcapping": [4.0, None],
                     "sliding_window_pattern": [2, 3], "use_bidirectional_attention": [False]}),
    "smollm3": (sizes(), {**BASE, **ROPE, **WINDOW, **LAYERS, "no_rope_layers": "flags", "no_rope_layer_interval": [1, 2, 3],
                          "attention_bias": [True, False], "mlp_bias": [True, False]}),
    "stablelm": (sizes(), {**ACT, **TIE, **ROPE, **PARTIAL, "layer_norm_eps": [1e-3], "use_qkv_bias": [True, False],
                           "qk_layernorm": [True, False], "use_parallel_residual": [True, False]}),
    "starcoder2": (sizes(), {**ACT, **TIE, **ROPE, "norm_epsilon": [1e-3], "sliding_window": [5, 9, None],
                             "use_bias": [True, False]}),
    "falcon": (sizes("intermediate_size", "num_key_value_heads"),
               {**TIE, "rope": ["default", "linear", "dynamic"], "layer_norm_epsilon": [1e-3],
                "num_ln_in_parallel_attn": [1, 2, None], "num_kv_heads": [1, 2, 4], "alibi": [True, False],
                "new_decoder_architecture": [True, False], "multi_query": [True, False], "parallel_attn": [True, False],
                "bias": [True, False], "ffn_hidden_size": [96, None], "activation": ACTIVATIONS}),
    "bloom": ({"hidden_size": [48, 96], "n_layer": [2], "n_head": [4, 6], "vocab_size": [128], "bos_token_id": [1],
               "eos_token_id": [2], "pad_token_id": [0]},
              {**TIE, "layer_norm_epsilon": [1e-3], "apply_residual_connection_post_layernorm": [True, False]}),
    "granite": (sizes(), {**BASE, **ROPE, "attention_bias": [True, False], "mlp_bias": [True, False],
                          "embedding_multiplier": [3.0], "logits_scaling": [4.0], "residual_multiplier": [0.3],
                          "attention_multiplier": [0.1, 0.25]}),
    "olmo": (sizes(), {**ACT, **TIE, **ROPE, "attention_bias": [True, False], "clip_qkv": [None, 0.5, 2.0]}),
    "olmo2": (sizes(), {**BASE, **ROPE, "attention_bias": [True, False]}),
    "olmo3": (sizes(), {**BASE, "rope": ["default", "linear", "yarn"], **LAYERS, "attention_bias": [True, False],
                        "sliding_window": [5, 9]}),
    "cohere": (sizes(), {**ACT, **TIE, **ROPE, "attention_bias": [True, False], "layer_norm_eps": [1e-3],
                         "logit_scale": [0.5], "use_qk_norm": [True, False]}),
    "cohere2": (sizes(), {**ACT, **TIE, **ROPE, **LAYERS, "attention_bias": [True, False], "layer_norm_eps": [1e-3],
                          "logit_scale": [0.5], "sliding_window": [5, 9], "sliding_window_pattern": [2, 3]}),
    "gpt_neox": (sizes("num_key_value_heads"),
                 {**ACT, **TIE, "rope": ["default", "linear", "dynamic"], "layer_norm_eps": [1e-3],
                  "use_parallel_residual": [True, False], "attention_bias": [True, False], "rotary_pct": [0.5],
                  "rotary_emb_base": [500]}),
    "nemotron": (sizes(), {**ACT, **TIE, **ROPE, **PARTIAL, **HEAD, "norm_eps": [1e-3], "attention_bias": [True, False],
                           "mlp_bias": [True, False]}),
    "glm": (sizes(), {**BASE, **ROPE, **PARTIAL, "head_dim": [16, 32], "attention_bias": [True, False]}),
    "glm4": (sizes(), {**BASE, **ROPE, **PARTIAL, "head_dim": [16, 32], "attention_bias": [True, False]}),
    "glm4_moe": (sizes(moe_intermediate_size=[24], n_routed_experts=[8, 16], num_experts_per_tok=[2, 3],
                       n_shared_experts=[1, 2], first_k_dense_replace=[0, 1, 2], n_group=[1, 2], topk_group=[1, 2]),
                 {**BASE, **ROPE, **PARTIAL, **HEAD, "attention_bias": [True, False], "use_qk_norm": [True, False],
                  "norm_topk_prob": [True, False], "routed_scaling_factor": [2.5]}),
    "exaone4": (sizes(), {**BASE, **ROPE, **LAYERS, **HEAD, "sliding_window": [5, 9, None], "sliding_window_pattern": [2, 3]}),
    "seed_oss": (sizes(), {**BASE, **ROPE, "head_dim": [8, 24], "attention_bias": [True, False],
                           "attention_out_bias": [True, False], "mlp_bias": [True, False]}),
    "arcee": (sizes(), {**BASE, **ROPE, **HEAD, "attention_bias": [True, False], "mlp_bias": [True, False]}),
    "ernie4_5": (sizes(), {**BASE, **ROPE, "head_dim": [8, 24], "use_bias": [True, False]}),
    "opt": ({**sizes("intermediate_size", "num_key_value_heads"), "ffn_dim": [96], "max_position_embeddings": [64]},
            {**TIE, "do_layer_norm_before": [True, False], "_remove_final_layer_norm": [True, False],
             "word_embed_proj_dim": [64, 32], "activation_function": ACTIVATIONS, "enable_bias": [True, False],
             "layer_norm_elementwise_affine": [True, False]}),
}


HALF = {"nemotron": 0.5, "glm": 0.5, "glm4": 0.5, "glm4_moe": 0.5}  # what rotates unless the configuration says otherwise


def rope(kind, rng, heads_dim, context):
    """rope_parameters of one kind. `heads_dim`: channels that rotate."""
    out = {"rope_type": kind}
    if rng.random() < 0.5:
        out["rope_theta"] = rng.choice([500.0, 1e6])
    if kind in ("linear", "dynamic", "yarn", "llama3"):
        out["factor"] = rng.choice([2.0, 4.0])
    if kind == "llama3":
        out.update(low_freq_factor=1.0, high_freq_factor=rng.choice([2.0, 4.0]), original_max_position_embeddings=context // 2)
    if kind == "yarn":
        for key, values in (("original_max_position_embeddings", [context // 2, 8]), ("beta_fast", [16.0]), ("beta_slow", [2.0]),
                            ("attention_factor", [0.8]), ("mscale", [0.7, 1.0]), ("mscale_all_dim", [0.5, 1.0]),
                            ("truncate", [False, True])):
            if rng.random() < 0.5:
                out[key] = rng.choice(values)
    if kind == "longrope":
        half = heads_dim // 2
        out.update(short_factor=[1.0 + 0.1 * i for i in range(half)], long_factor=[1.0 + 0.7 * i for i in range(half)])
        for key, values in (("original_max_position_embeddings", [context // 2, context // 4]), ("factor", [2.0]),
                            ("attention_factor", [1.1])):
            if rng.random() < 0.5:
                out[key] = rng.choice(values)
    return out


ABSENT = ["num_key_value_heads", "max_position_embeddings", "vocab_size", "intermediate_size"]  # small enough as defaults


def sample(model_type, rng):
    """One configuration as the hub might hold it."""
    config = {"model_type": model_type, **fill(*FAMILIES[model_type], rng, model_type)}
    if "partial_rotary_factor" not in FAMILIES[model_type][1] and rng.random() < 0.2:
        config["partial_rotary_factor"] = 0.5  # most families do not read it
    absent = rng.choice(ABSENT)
    if rng.random() < 0.15 and model_type not in ("opt", "deepseek_v2", "deepseek_v3", "phi3") and "rope_scaling" not in config \
            and config.get("rope_parameters", {"rope_type": "default"}).get("rope_type") == "default":
        config.pop(absent, None)
    return config


def fill(always, perhaps, rng, model_type=""):
    config = {key: rng.choice(values) for key, values in always.items()}
    chosen = {key: values for key, values in perhaps.items() if rng.random() < 0.5}
    blocks = config.get("num_hidden_layers", config.get("n_layer"))
    for key, values in chosen.items():
        if values == "layer_types":
            config[key] = [rng.choice(["full_attention", "sliding_attention"]) for _ in range(blocks)]
        elif values == "flags":
            config[key] = [rng.choice([0, 1]) for _ in range(blocks)]
        elif key != "rope":
            config[key] = rng.choice(values)
    if "rope" in chosen:
        add_rope(config, model_type, rng.choice(chosen["rope"]), rng)
    return config


def add_two_ropes(config, model_type, kind, rng, head, context):
    """Gemma 3: one rotation for local blocks, one for the others."""
    whole, local = rope(kind, rng, head, context), rope("default", rng, head, context)
    whole.pop("truncate", None)  # which transformers 5.23 looks for outside of these tables
    if rng.random() < 0.5:
        config["rope_parameters"] = {"full_attention": whole, "sliding_attention": local}
        return
    if rng.random() < 0.3:  # flat: transformers 5.23 takes none of it
        config["rope_parameters"] = local
        return
    config["rope_theta"] = whole.pop("rope_theta", 1e5)
    if model_type == "olmo3":  # transformers 5 takes rope_theta for whole attention alone, 4 for both: the default is both's
        config["rope_theta"] = 5e5
    if model_type == "gemma3_text":
        config["rope_local_base_freq"] = local.get("rope_theta", 1e3)
    if kind != "default":
        config["rope_scaling"] = whole


def add_rope(config, model_type, kind, rng):
    """In the spelling of transformers 4 or 5."""
    head = config.get("qk_rope_head_dim") or config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    share = config.get("partial_rotary_factor") or {"phi": 0.5, "stablelm": 0.25}.get(model_type) or HALF.get(model_type, 1.0)
    context = config["max_position_embeddings"]
    if model_type == "gpt_neox":  # its class takes no rope_theta outside of the table
        config["rope_parameters"] = {**rope(kind, rng, 8, context)}
        return
    if model_type in ("gemma3_text", "olmo3"):
        add_two_ropes(config, model_type, kind, rng, head, context)
        return
    parameters = rope(kind, rng, int(head * share), context)
    if rng.random() < 0.5:
        config["rope_parameters"] = {"rope_theta": 10000.0, **parameters}
        if "partial_rotary_factor" in config:
            config["rope_parameters"]["partial_rotary_factor"] = config.pop("partial_rotary_factor")
        return
    if "rope_theta" in parameters:
        config["rope_theta"] = parameters.pop("rope_theta")
    if kind != "default":
        config["rope_scaling"] = parameters
        if rng.random() < 0.3:
            parameters["type"] = parameters.pop("rope_type")
