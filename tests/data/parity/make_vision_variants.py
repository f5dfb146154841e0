#!/usr/bin/env python3
"""Makes small models that read images beside this file: switches that the main model of a family leaves at their defaults.

    make_vision_variants.py [NAME ...]

As make_variants.py; io.safetensors also holds what a processor gives beside input_ids (pixel_values, image_grid_thw).
"""
import os, sys
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForImageTextToText
from make_variants import save_random

TEXT = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 2,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "vocab_size": 128, "bos_token_id": 1, "eos_token_id": 2,
        "pad_token_id": 0}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3}
VARIANTS = {
    # name: config, image token, tokens of each image
    "llava_layers": ({"model_type": "llava", "image_token_index": 120, "vision_feature_layer": [0, -1],
                      "vision_feature_select_strategy": "full", "multimodal_projector_bias": False,
                      "projector_hidden_act": "gelu_pytorch_tanh",
                      "text_config": {**TEXT, "model_type": "mistral", "sliding_window": 7},
                      "vision_config": {**TOWER, "model_type": "clip_vision_model", "image_size": 28, "patch_size": 14,
                                        "hidden_act": "gelu", "layer_norm_eps": 1e-4}}, 120, [5, 5]),
    "llava_siglip": ({"model_type": "llava", "image_token_index": 120, "vision_feature_layer": -1,
                      "vision_feature_select_strategy": "full", "text_config": {**TEXT, "model_type": "qwen2"},
                      "vision_config": {**TOWER, "model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14,
                                        "vision_use_head": False}}, 120, [4]),
    "internvl_norms": ({"model_type": "internvl", "image_token_id": 120, "downsample_ratio": 0.5,
                        "text_config": {**TEXT, "model_type": "qwen3", "head_dim": 16},
                        "vision_config": {**TOWER, "image_size": [56, 56], "patch_size": [14, 14], "norm_type": "rms_norm",
                                          "use_qk_norm": True, "attention_bias": False, "use_mean_pooling": False,
                                          "layer_norm_eps": 1e-4}}, 120, [4, 4]),
    "qwen2_5_vl_images": ({"model_type": "qwen2_5_vl", "image_token_id": 120, "video_token_id": 121,
                           "vision_start_token_id": 122, "vision_end_token_id": 123,
                           "text_config": {**{k: v for k, v in TEXT.items() if k != "model_type"},
                                           "rope_parameters": {"rope_type": "default", "rope_theta": 1e6,
                                                               "mrope_section": [2, 3, 3]}},
                           "vision_config": {"depth": 3, "fullatt_block_indexes": [1], "hidden_size": 32, "num_heads": 2,
                                             "intermediate_size": 48, "out_hidden_size": 64, "patch_size": 14,
                                             "window_size": 56}}, 120, [(1, 4, 6), (1, 6, 10)]),
}


def inputs_of(config, token, images):
    grids = [image for image in images if isinstance(image, tuple)]
    ids = [5, 9]
    for image in images:
        count = image[1] * image[2] // 4 if grids else image
        ids += ([122] if grids else []) + [token] * count + ([123] if grids else []) + [11, 7]
    ids += [(3 + i * 7) % 100 for i in range(6)]
    inputs = {"input_ids": torch.tensor([ids])}
    if grids:
        inputs["image_grid_thw"] = torch.tensor(grids)
        inputs["pixel_values"] = torch.randn(sum(t * h * w for t, h, w in grids), 3 * 2 * 14 * 14)
        return inputs, {"mm_token_type_ids": (inputs["input_ids"] == token).int()}
    size = config.vision_config.image_size
    inputs["pixel_values"] = torch.randn(len(images), 3, *(size if isinstance(size, (list, tuple)) else (size, size)))
    return inputs, {}


def make(name, folder):
    given, token, images = VARIANTS[name]
    os.makedirs(folder, exist_ok=True)
    config = AutoConfig.for_model(**given)
    config._attn_implementation = "eager"
    torch.manual_seed(sum(map(ord, name)))
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32).eval()
    save_random(model, given, folder)
    inputs, others = inputs_of(config, token, images)
    with torch.no_grad():
        out = model(**inputs, **others, output_hidden_states=True)
    tensors = {f"hidden_{i}": state.contiguous().clone() for i, state in enumerate(out.hidden_states)}
    save_file({**inputs, "logits": out.logits.contiguous().clone(), **tensors}, folder + "/io.safetensors")
    print(name, os.listdir(folder), config.architectures, tuple(inputs["input_ids"].shape))


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    for name in sys.argv[1:] or VARIANTS:
        make(name, os.path.join(here, name))
