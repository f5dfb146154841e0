"""What configurations of models that read images may say, as space.py; and the inputs of such a model."""
import torch
import space

TOKEN, VIDEO, START, END = 120, 121, 122, 123
TEXT = space.sizes(max_position_embeddings=[256, 512])
TOWER = {"hidden_size": [32], "intermediate_size": [64, 40], "num_attention_heads": [2, 4], "num_hidden_layers": [2, 3]}
BASE = {**space.BASE, "rope": ["default", "linear", "llama3", "yarn"]}
MROPE_TEXT = (space.sizes(max_position_embeddings=[256]),
              {**space.ACT, **space.EPS, "sliding_window": [5, 9], "use_sliding_window": [True, False],
               "max_window_layers": [0, 1, 2], "layer_types": "layer_types"})
# Text models behind the projectors of LLaVA and InternVL. There transformers leaves out what a family does to its logits.
LANGUAGES = ["llama", "mistral", "qwen2", "qwen3", "phi3", "qwen3_moe", "granite", "phi", "gemma2", "olmo2", "stablelm"]
LOGITS = {"logits_scaling": 1.0, "final_logit_softcapping": None}
ASPECTS = {1: [[1, 1]], 2: [[1, 1], [1, 2], [2, 1]], 4: [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]}


def pick(always, perhaps, rng):
    chosen = {key: rng.choice(values) for key, values in always.items()}
    return {**chosen, **{key: rng.choice(values) for key, values in perhaps.items() if rng.random() < 0.5}}


def language(rng):
    text = space.sample(rng.choice(LANGUAGES), rng)
    always, perhaps = space.FAMILIES[text["model_type"]]
    text.update({key: value for key, value in LOGITS.items() if key in perhaps})
    return {**text, "vocab_size": 128, "max_position_embeddings": 512}


def llava(rng):
    siglip = rng.random() < 0.4
    vision = pick({**TOWER, "image_size": [28], "patch_size": [14, 7]},
                  {"hidden_act": space.ACTIVATIONS, "layer_norm_eps": [1e-4]}, rng)
    vision["model_type"] = "siglip_vision_model" if siglip else "clip_vision_model"
    if siglip:
        vision["vision_use_head"] = rng.random() < 0.5
    config = pick({"image_token_index": [TOKEN]},
                  {"projector_hidden_act": space.ACTIVATIONS, "multimodal_projector_bias": [True, False],
                   "vision_feature_layer": [-1, -2, 1, [-2, -1], [0, 2]], **space.TIE}, rng)
    config["vision_feature_select_strategy"] = "full" if siglip else rng.choice(["default", "full"])
    full = config["vision_feature_select_strategy"] == "full" and not siglip
    count = (28 // vision["patch_size"]) ** 2 + (1 if full else 0)
    return {"model_type": "llava", "text_config": language(rng), "vision_config": vision, **config}, [count] * rng.choice([1, 2])


def internvl(rng):
    side = rng.choice([56, 28])
    vision = pick({**TOWER, "image_size": [[side, side], side], "patch_size": [[14, 14], 14]},
                  {"hidden_act": space.ACTIVATIONS, "layer_norm_eps": [1e-4], "attention_bias": [True, False],
                   "use_qk_norm": [True, False], "norm_type": ["layer_norm", "rms_norm"], "use_mean_pooling": [True, False],
                   "use_absolute_position_embeddings": [True, False], "layer_scale_init_value": [0.3]}, rng)
    config = pick({"image_token_id": [TOKEN]}, {"projector_hidden_act": space.ACTIVATIONS, "downsample_ratio": [0.5],
                                                "vision_feature_layer": [-1, 1, -2], **space.TIE}, rng)
    return {"model_type": "internvl", "text_config": language(rng), "vision_config": vision, **config}, \
        [(side // 28) ** 2] * rng.choice([1, 2])


def qwen(model_type, rng):
    text = space.fill(*MROPE_TEXT, rng)
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": rng.choice([1e4, 1e6]), "mrope_section": [2, 3, 3]}
    second = model_type == "qwen2_vl"
    vision = pick({"depth": [2, 3], "num_heads": [2, 4], "patch_size": [14, 7],
                   **({"embed_dim": [32], "hidden_size": [64], "mlp_ratio": [2, 3]} if second else
                      {"hidden_size": [32], "out_hidden_size": [64], "intermediate_size": [48], "window_size": [56, 28],
                       "fullatt_block_indexes": [[1], [0], []]})},
                  {"hidden_act": space.ACTIVATIONS, "temporal_patch_size": [2]}, rng)
    config = {"model_type": model_type, "image_token_id": TOKEN, "video_token_id": VIDEO, "vision_start_token_id": START,
              "vision_end_token_id": END, "text_config": text, "vision_config": vision, **pick({}, space.TIE, rng)}
    return config, rng.choice([[(1, 4, 6)], [(1, 4, 4), (1, 6, 10)]])


def mllama(rng):
    text = space.fill(TEXT, {**space.ACT, **space.EPS, "rope": ["default", "llama3", "linear"]}, rng)
    text.update(model_type="mllama_text_model", num_hidden_layers=4, cross_attention_layers=rng.choice([[1], [0, 3], [1, 2]]))
    indices = rng.choice([[0], [0, 1], [1]])
    vision = pick({"hidden_size": [32], "intermediate_size": [64], "num_hidden_layers": [2, 3], "num_global_layers": [1, 2],
                   "attention_heads": [2, 4], "image_size": [28], "patch_size": [14], "max_num_tiles": [1, 2, 4]},
                  {"hidden_act": space.ACTIVATIONS, "norm_eps": [1e-4]}, rng)
    vision.update(supported_aspect_ratios=ASPECTS[vision["max_num_tiles"]], intermediate_layers_indices=indices,
                  vision_output_dim=32 * (1 + len(indices)))
    config = {"model_type": "mllama", "image_token_index": TOKEN, "text_config": text, "vision_config": vision}
    return config, [1] * rng.choice([1, 2])


MODELS = {"llava": llava, "internvl": internvl, "qwen2_vl": lambda rng: qwen("qwen2_vl", rng),
          "qwen2_5_vl": lambda rng: qwen("qwen2_5_vl", rng), "mllama": mllama}


def token_ids(images):
    """A sequence with every image between a few words."""
    ids = [5, 9]
    for image in images:
        grid = isinstance(image, tuple)
        count = image[1] * image[2] // 4 if grid else image
        ids += ([START] if grid else []) + [TOKEN] * count + ([END] if grid else []) + [11, 7]
    return torch.tensor([ids + [(3 + i * 7) % 100 for i in range(6)]])


def inputs(config, images):
    """What a processor gives (random pixels), and what transformers asks for beside it."""
    ids, vision = token_ids(images), config.vision_config
    if config.model_type == "mllama":
        return tiles(ids, vision, len(images)), {}
    if isinstance(images[0], tuple):
        pixels = torch.randn(sum(t * h * w for t, h, w in images), 3 * vision.temporal_patch_size * vision.patch_size ** 2)
        return {"input_ids": ids, "image_grid_thw": torch.tensor(images), "pixel_values": pixels}, \
            {"mm_token_type_ids": (ids == TOKEN).int()}
    size = vision.image_size
    size = size if isinstance(size, (list, tuple)) else (size, size)
    return {"input_ids": ids, "pixel_values": torch.randn(len(images), 3, *size)}, {}


def tiles(ids, vision, count):
    """Images of one row of tiles, the first of which are filled; later words see every image before them."""
    filled = torch.zeros(1, count, vision.max_num_tiles, dtype=torch.long)
    seen = torch.zeros(1, ids.shape[1], count, vision.max_num_tiles, dtype=torch.long)
    for image in range(count):
        used = 1 + image % vision.max_num_tiles
        filled[0, image, :used] = 1
        seen[0, 3 + 3 * image:, image, :used] = 1
    pixels = torch.randn(1, count, vision.max_num_tiles, 3, vision.image_size, vision.image_size) * filled[..., None, None, None]
    shapes = vision.supported_aspect_ratios
    aspects = [1 + shapes.index([1, 1 + image % vision.max_num_tiles]) for image in range(count)]
    return {"input_ids": ids, "pixel_values": pixels, "aspect_ratio_ids": torch.tensor([aspects]), "aspect_ratio_mask": filled,
            "cross_attention_mask": seen}
