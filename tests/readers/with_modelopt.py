"""ModelOpt's own tensor classes read what Swage exports in its format."""
import shutil, sys
import numpy as np
import torch
from modelopt.torch.export.quant_utils import from_quantized_weight, pack_int4_in_uint8
from modelopt.torch.quantization.qtensor import FP8QTensor, MXFP8QTensor, NVFP4QTensor
import checkpoint
from comparison import Table, divergence
from nvidia import Bench, flipped
from second import modules, row_pairs

BLOCKS = {-1: 16}


def torch_of(dtype, array):
    tensor = torch.from_numpy(np.array(array))
    return tensor.view(torch.float8_e4m3fn) if dtype == "F8_E4M3" else tensor


def nvfp4(parts):
    packed = torch_of(*parts["weight"])
    shape = torch.Size((packed.shape[0], 2 * packed.shape[1]))
    return NVFP4QTensor(shape, torch.bfloat16, packed).dequantize(
        scale=torch_of(*parts["weight_scale"]), double_scale=torch_of(*parts["weight_scale_2"]), block_sizes=BLOCKS)


def fp8(parts):
    codes, scale = torch_of(*parts["weight"]), torch_of(*parts["weight_scale"])
    return FP8QTensor(codes.shape, torch.float32, codes).dequantize(scale=scale if scale.dim() == 0 else scale[:, None])


def mxfp8(parts):
    codes = torch_of(*parts["weight"])
    return MXFP8QTensor(codes.shape, torch.bfloat16, codes).dequantize(scale=torch_of(*parts["weight_scale"]))


def int8(parts):
    return from_quantized_weight(torch_of(*parts["weight"]), torch_of(*parts["weight_scale"]), "int8_sq", torch.float32)


def read(folder, how):
    """{name: fp32 array} of the compressed linears; ModelOpt's zeros of 4 bits have no sign."""
    tensors = checkpoint.tensors(folder + "/model.safetensors")
    return {name + ".weight": how(parts).float().numpy() + np.float32(0) for name, parts in modules(tensors).items() if "weight_scale" in parts}


def compare_logits(case, folder, found, bench, table):
    """Swage's logits of the weights that ModelOpt read, against those of the export."""
    read = folder + "/read"
    shutil.copytree(folder + "/dense", read, ignore=shutil.ignore_patterns("*.safetensors*"))
    tensors = {name: ("F32", value) for name, value in {**checkpoint.decoded(folder + "/dense"), **found}.items()}
    checkpoint.write(read + "/model.safetensors", tensors)
    table.logits(case, divergence(bench.logits(folder + "/packed"), bench.logits(read)), 1e-12)


def compare(case, how, part, bench, table, whole=False):
    folder = bench.case(case, whole)
    packed, dense = folder + "/packed", checkpoint.decoded(folder + "/dense")
    found = read(packed, how)
    expected = {name: dense[name] for name in found}
    compare_weights = lambda found: table.weights(case, checkpoint.without_signs(expected), checkpoint.without_signs(found))
    compare_weights(found)
    if whole:
        compare_logits(case, folder, found, bench, table)
    flipped(packed, folder + "/flipped", part, 20 if part == "weight_scale_2" else 0)
    table.must_fail(f"{case} with one bit of one {part} flipped", lambda: compare_weights(
        read(folder + "/flipped", how)))
    shutil.rmtree(folder)


def compare_int4(bench, table):
    """It has no unpacker: what it packs of our codes has to be our bytes."""
    folder = bench.case("modelopt-int4")
    differing = count = 0
    for parts in modules(checkpoint.tensors(folder + "/packed/model.safetensors")).values():
        if "weight_scale" not in parts:
            continue
        packed, scale = parts["weight"][1], torch_of(*parts["weight_scale"])
        group = packed.shape[1] // scale.shape[1]
        weight = torch.from_numpy(row_pairs(np.array(packed))) * scale.repeat_interleave(group, 1)
        own = pack_int4_in_uint8(weight, scale, group).numpy()
        differing, count = differing + (own != packed).sum(), count + packed.size
    table.below("modelopt-int4", "bytes that it packs otherwise", int(differing), 0, f"of {count}")
    shutil.rmtree(folder)


def main(kind, folder):
    bench, table = Bench(kind, folder), Table(f"ModelOpt, {kind} model")
    if kind == "model":
        compare("modelopt-nvfp4-weights", nvfp4, "weight_scale", bench, table, whole=True)
        return table.finish()
    compare("modelopt-nvfp4", nvfp4, "weight_scale_2", bench, table)
    compare("modelopt-fp8", fp8, "weight_scale", bench, table)
    compare("modelopt-rows", fp8, "weight_scale", bench, table)
    compare("modelopt-mxfp8", mxfp8, "weight_scale", bench, table)
    compare("modelopt-int8", int8, "weight_scale", bench, table)
    compare_int4(bench, table)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
