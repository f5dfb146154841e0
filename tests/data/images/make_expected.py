#!/usr/bin/env python3
"""Writes the pictures of this folder and expected.json, with the image processors of transformers on Pillow.

    python3 -m venv venv && venv/bin/pip install transformers==5.23.0 pillow==12.3.0 numpy
    venv/bin/python make_expected.py

Pillow 13 resizes the other way round where the height shrinks much more than the width, so it is not used.
"""
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from transformers.image_utils import load_image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

HERE = Path(__file__).parent


def formula(height, width, channels=3):
    """Slopes, curves and noise; the tests compute the same."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    noise = (x * 7919 + y * 104729 + c * 1299709 + x * y * 31) % 64
    return ((3 * y + 5 * x + 40 * c + x * y // 7 + noise) % 256).astype(np.uint8)


def smooth(height, width, channels=3):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    return ((2 * y + 3 * x + 60 * c + x * y // 20) % 512 // 2).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, rows, extra=(), interlaced=False):
    """PNGs that Pillow does not write; rows are lists of bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def exif(orientation, big=False):
    order = ">" if big else "<"
    return (b"MM" if big else b"II") + struct.pack(
        order + "HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def adam7(height, width):
    """A grey picture in the seven passes of an interlaced PNG."""
    picture = formula(height, width, 1)[:, :, 0]
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    return [list(row) for top, left, down, right in passes
            for row in picture[top::down, left::right] if len(row) > 0]


def write_pictures():
    def save(name, array, mode=None, **options):
        Image.fromarray(array, mode).save(HERE / name, **options)

    rgb = smooth(37, 53)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        save(f"jpeg_{subsampling.replace(':', '')}.jpg", formula(37, 53), quality=85, subsampling=subsampling)
    save("jpeg_progressive.jpg", rgb, quality=90, progressive=True)
    save("jpeg_grey.jpg", rgb[:, :, 0], quality=75)
    Image.fromarray(smooth(20, 33, 4), "CMYK").save(HERE / "jpeg_cmyk.jpg", quality=90)
    save("jpeg_one.jpg", rgb[:1, :1])
    for orientation in range(1, 9):
        save(f"turned_{orientation}.jpg", smooth(9, 14), quality=90, exif=b"Exif\0\0" + exif(orientation, orientation % 2 == 0),
             subsampling="4:4:4")
    save("turned_xmp.jpg", smooth(9, 14), quality=90,
         xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>')
    save("rgb.png", formula(31, 17))
    save("grey.png", formula(13, 11)[:, :, 0])
    save("alpha.png", formula(12, 15, 4))
    save("grey_alpha.png", formula(12, 15, 2), "LA")
    save("wide.png", smooth(10, 100))
    save("portrait.png", smooth(60, 24))
    save("one.png", formula(1, 1))
    Image.fromarray(rgb).quantize(9).save(HERE / "palette.png")
    Image.fromarray(rgb).quantize(200).save(HERE / "palette_clear.png", transparency=bytes(range(0, 200)))
    save("turned.png", smooth(9, 14), exif=exif(8))
    for depth in (1, 2, 4):
        row_size = (21 * depth + 7) // 8
        rows = [[(37 * y + 91 * x) % 256 for x in range(row_size)] for y in range(5)]
        (HERE / f"grey_{depth}.png").write_bytes(png(21, 5, depth, 0, rows))
    deep = [[(0, 0, 1)[i % 3] if i % 2 == 0 and i < 8 else (29 * i + 77 * y) % 256 for i in range(2 * 13)] for y in range(7)]
    (HERE / "grey_16.png").write_bytes(png(13, 7, 16, 0, deep))
    (HERE / "rgb_16.png").write_bytes(png(4, 7, 16, 2, [row[:24] for row in deep]))
    (HERE / "grey_alpha_16.png").write_bytes(png(6, 7, 16, 4, [row[:24] for row in deep]))
    (HERE / "interlaced.png").write_bytes(png(19, 15, 8, 0, adam7(15, 19), interlaced=True))
    (HERE / "gamma.png").write_bytes(
        png(6, 4, 8, 0, [[40 * x + y for x in range(6)] for y in range(4)], [chunk(b"gAMA", struct.pack(">I", 100000))]))
    save("lossy.webp", formula(37, 53), quality=80)
    save("lossless.webp", formula(12, 15, 4), lossless=True)
    save("turned.webp", smooth(9, 14), lossless=True, exif=exif(6))
    frames = [Image.fromarray(smooth(10, 12)), Image.fromarray(255 - smooth(10, 12))]
    frames[0].save(HERE / "animated.webp", save_all=True, append_images=frames[1:], lossless=True)


def digest(array):
    array = np.ascontiguousarray(array)
    return {"shape": list(array.shape), "crc32": zlib.crc32(array.tobytes())}


def pictures():
    names = sorted(path.name for path in HERE.iterdir() if path.suffix in (".png", ".jpg", ".webp"))
    return {name: digest(np.asarray(load_image(str(HERE / name)))) for name in names}


def resizes():
    sizes = [(480, 640, 336, 448), (100, 37, 336, 336), (1000, 700, 336, 235), (61, 200, 28, 200), (33, 47, 448, 33),
             (1, 1, 5, 7), (7, 9, 1, 1), (300, 2, 20, 20), (640, 427, 641, 426), (64, 64, 64, 64), (3, 200, 336, 3)]
    for height, width, new_height, new_width in sizes:
        for name, kind in (("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)):
            picture = Image.fromarray(formula(height, width)).resize((new_width, new_height), kind)
            yield {"from": [height, width], "to": [new_height, new_width], "filter": name, **digest(np.asarray(picture))}


IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
LLAVA = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
TINY_TILE = {"size": {"height": 28, "width": 28}}
CASES = [
    # family, processor, config, sizes, arguments of the call
    ("clip", CLIPImageProcessorPil, {}, [(480, 640), (640, 480), (224, 224), (1, 1), (30, 300), (225, 449)], {}),
    ("clip", CLIPImageProcessorPil, LLAVA, [(480, 640), (500, 333), (337, 336)], {}),
    ("clip", CLIPImageProcessorPil, {"size": 30, "crop_size": 31}, [(40, 50), (50, 40)], {}),
    ("clip", CLIPImageProcessorPil, {"size": [30, 20], "crop_size": [24, 33]}, [(40, 50)], {}),
    ("clip", CLIPImageProcessorPil, {"size": {"height": 20, "width": 30}, "crop_size": 17, "resample": 2}, [(40, 50)], {}),
    ("clip", CLIPImageProcessorPil, {"do_resize": False, "crop_size": 9}, [(5, 6), (20, 4), (31, 30)], {}),
    ("clip", CLIPImageProcessorPil, {"size": 24, "do_center_crop": False, "do_normalize": False}, [(40, 50)], {}),
    ("clip", CLIPImageProcessorPil, {"size": 24, "crop_size": 24, "do_rescale": False}, [(40, 50)], {}),
    ("clip", CLIPImageProcessorPil, {"size": 24, "crop_size": 24, "rescale_factor": 0.01, "image_mean": 0.5, "image_std": 0.25}, [(40, 50)], {}),
    ("clip", CLIPImageProcessorPil, {"size": 24, "crop_size": 24, "do_pad": True, "image_processor_type": "CLIPImageProcessor"}, [(40, 50)], {}),
    ("clip", LlavaImageProcessorPil, {**LLAVA, "do_pad": True, "image_processor_type": "LlavaImageProcessor"}, [(480, 640), (641, 480), (100, 100)], {}),
    ("qwen2_vl", Qwen2VLImageProcessorPil, {}, [(480, 640), (28, 28), (1, 1), (42, 70), (98, 126), (10, 1990), (37, 53)], {}),
    ("qwen2_vl", Qwen2VLImageProcessorPil, {"max_pixels": 28 * 28 * 20, "min_pixels": 28 * 28 * 4}, [(480, 640), (14, 1000), (30, 30)], {}),
    ("qwen2_vl", Qwen2VLImageProcessorPil, {"size": {"shortest_edge": 3136, "longest_edge": 50000}}, [(480, 640)], {}),
    ("qwen2_vl", Qwen2VLImageProcessorPil, {"size": {"shortest_edge": 3136, "longest_edge": 50000}, "max_pixels": 20000}, [(480, 640)], {}),
    ("qwen2_vl", Qwen2VLImageProcessorPil, {"patch_size": 4, "merge_size": 3, "temporal_patch_size": 1, "min_pixels": 144}, [(50, 40)], {}),
    ("qwen2_vl", Qwen2VLImageProcessorPil, {"do_resize": False}, [(56, 84)], {}),
    ("mllama", MllamaImageProcessorPil, {"size": {"height": 560, "width": 560}}, [(600, 500)], {}),
    ("mllama", MllamaImageProcessorPil, TINY_TILE,
     [(28, 28), (10, 10), (29, 28), (56, 56), (57, 56), (100, 30), (30, 100), (300, 3), (3, 300), (20, 60), (60, 20), (84, 20), (1, 1), (200, 190), (28, 57)], {}),
    ("mllama", MllamaImageProcessorPil, {"size": 20, "max_image_tiles": 6, "resample": 3}, [(41, 60), (60, 41), (120, 10), (33, 33)], {}),
    ("mllama", MllamaImageProcessorPil, {**TINY_TILE, "max_image_tiles": 1}, [(50, 90)], {}),
    ("internvl", GotOcr2ImageProcessorPil, {"size": {"height": 448, "width": 448}, **IMAGENET}, [(480, 640)], {"crop_to_patches": True}),
    ("internvl", GotOcr2ImageProcessorPil, {**TINY_TILE, **IMAGENET, "crop_to_patches": False},
     [(28, 28), (40, 50), (50, 40), (10, 100), (100, 10), (1, 1), (200, 200), (56, 56), (39, 39), (40, 40), (40, 70), (90, 60), (28, 112), (100, 250)], {"crop_to_patches": True}),
    ("internvl", GotOcr2ImageProcessorPil, {"size": 20, "min_patches": 3, "max_patches": 6, "resample": 2}, [(40, 50), (40, 40), (10, 100)], {"crop_to_patches": True}),
    ("internvl", GotOcr2ImageProcessorPil, {**TINY_TILE, "max_patches": 1}, [(40, 70)], {"crop_to_patches": True}),
]


def processed():
    for family, kind, config, sizes, arguments in CASES:
        processor = kind(**{key: value for key, value in config.items() if key != "image_processor_type"})
        for height, width in sizes:
            outputs = dict(processor(Image.fromarray(formula(height, width)), return_tensors="np", **arguments))
            outputs.pop("num_patches", None)
            if family == "mllama":  # [batch, images, …]
                outputs = {name: np.asarray(value)[0] for name, value in outputs.items()}
                outputs["pixel_values"] = outputs["pixel_values"][0]
            expected = {}
            for name, value in outputs.items():
                value = np.asarray(value)
                if value.dtype == np.uint8:
                    value = value.astype(np.float32)
                if name == "pixel_values":
                    assert value.dtype == np.float32, value.dtype
                    expected[name] = digest(value)
                else:
                    expected[name] = {"shape": list(value.shape), "values": [int(v) for v in value.flatten()]}
            yield {"family": family, "config": config, "size": [height, width], "outputs": expected}


def main():
    write_pictures()
    lines = ['{"pictures": {']
    lines.append(",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in pictures().items()))
    for name, cases in (("resizes", resizes()), ("processed", processed())):
        lines.append(f'}}, "{name}": [' if name == "resizes" else f'], "{name}": [')
        lines.append(",\n".join(" " + json.dumps(case) for case in cases))
    lines.append("]}\n")
    (HERE / "expected.json").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
