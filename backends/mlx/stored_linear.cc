#include "stored_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>

#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/integer_form.h"
#include "swage/store/packing.h"

namespace swage::mlx {
namespace {

using Module = store::StoredModule;

constexpr char kWeight[] = "weight", kScales[] = "scales", kBiases[] = "biases";
constexpr int64_t kWordBits = 32;

int half_of(int64_t bits) { return 1 << (bits - 1); }

at::Tensor words_of(const Result& linear, const Mode& mode) {
  const at::Tensor& codes = linear.part("codes");
  at::Tensor words;
  if (mode.is_affine()) words = store::pack(codes, static_cast<int>(mode.bits));
  if (mode.name == "mxfp8") words = codes.contiguous();
  if (!words.defined()) words = store::pack_pairs(codes);
  return words.view(at::kUInt32);
}

// Minus zero point times scale, of codes that begin at 0.
at::Tensor biases_of(const Result& linear, int half) {
  if (const at::Tensor& offsets = linear.part("offsets"); offsets.defined()) return offsets;
  const at::Tensor& scales = linear.part("scales");
  const at::Tensor& zeros = linear.part("zeros");
  if (!zeros.defined()) return scales * -half;  // a power of two: exact
  return -((zeros.to(at::kDouble) + half) * scales.to(at::kDouble)).to(scales.scalar_type());
}

// A bias that leaves the dtype of fp16 though its scale does not.
absl::Status check_finite(const at::Tensor& biases) {
  if (biases.isfinite().all().item<bool>()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a bias lies beyond ", c10::toString(biases.scalar_type()),
                   "; write scale_dtype = \"fp32\" into the weight scheme"));
}

// --- reading ---

absl::StatusOr<at::Tensor> read_codes(const Module& module, const Mode& mode, int64_t out,
                                      int64_t in) {
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored,
                         module.read(kWeight, {at::kUInt32}, {out, in * mode.bits / kWordBits}));
  const at::Tensor words = stored.contiguous();
  if (mode.is_affine()) return store::unpack(words.view(at::kInt), static_cast<int>(mode.bits), in);
  if (mode.name == "mxfp8") return words.view(at::kFloat8_e4m3fn);
  return store::unpack_pairs(words.view(at::kByte));
}

// Integers whose bias is minus zero point times scale; what else lies there is no such thing.
absl::StatusOr<Parts> with_zeros(Parts parts, const at::Tensor& biases, int half) {
  const at::Tensor& scales = parts["scales"];
  const at::Tensor exact = (-biases.to(at::kDouble) / scales.to(at::kDouble)).round() - half;
  constexpr double kLeast = -128, kGreatest = 127;
  if (!(exact.ge(kLeast) & exact.le(kGreatest)).all().item<bool>())
    return absl::InvalidArgumentError("no zero points");
  const at::Tensor again = -((exact + half) * scales.to(at::kDouble)).to(scales.scalar_type());
  if (again.ne(biases).any().item<bool>()) return absl::InvalidArgumentError("others");
  parts["zeros"] = exact.to(at::kChar);
  return parts;
}

bool is_symmetric(const at::Tensor& scales, const at::Tensor& biases, int half) {
  return !(scales * -half).ne(biases).any().item<bool>();
}

absl::StatusOr<Result> read_affine(const Module& module, const Mode& mode,
                                   std::shared_ptr<const Codec> codec, int64_t out, int64_t in,
                                   Parts parts) {
  const Module::Shape levels = {out, in / mode.group};
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales,
                         module.read(kScales, store::float_types(), levels));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor biases,
                         module.read(kBiases, {scales.scalar_type()}, levels));
  parts["scales"] = scales;
  const int half = half_of(mode.bits);
  if (codec->format() == "int") {
    const bool symmetric = store::integer_form(*codec)->symmetric;
    if (symmetric && is_symmetric(scales, biases, half))
      return Result(module.name(), std::move(codec), out, in, std::move(parts));
    const auto zeros = symmetric ? absl::StatusOr<Parts>(absl::InvalidArgumentError(""))
                                 : with_zeros(parts, biases, half);
    if (zeros.ok()) return Result(module.name(), std::move(codec), out, in, *zeros);
    // Whatever is noted: such biases are offsets.
    SWAGE_ASSIGN_OR_RETURN(codec, codec_of(mode, Value()));
  }
  parts["offsets"] = biases;
  return Result(module.name(), std::move(codec), out, in, std::move(parts));
}

}  // namespace

absl::Status write_linear(const Result& linear, TensorSink& sink) {
  SWAGE_ASSIGN_OR_RETURN(const Mode mode, mode_of(*linear.codec()));
  const auto name = [&](const char* part) { return absl::StrCat(linear.name(), ".", part); };
  SWAGE_RETURN_IF_ERROR(sink.put(name(kWeight), words_of(linear, mode)));
  const at::Tensor& scales = linear.part("scales");
  if (!mode.is_affine()) return sink.put(name(kScales), scales.contiguous().view(at::kByte));
  SWAGE_RETURN_IF_ERROR(sink.put(name(kScales), scales));
  const at::Tensor biases = biases_of(linear, half_of(mode.bits));
  SWAGE_RETURN_IF_ERROR(check_finite(biases));
  return sink.put(name(kBiases), biases);
}

absl::StatusOr<Result> read_linear(const Module& module, const Mode& mode,
                                   std::shared_ptr<const Codec> codec) {
  SWAGE_ASSIGN_OR_RETURN(const Module::Shape words, module.shape(kWeight, 2));
  SWAGE_ASSIGN_OR_RETURN(const Module::Shape levels, module.shape(kScales, 2));
  const int64_t out = words[0];
  if (levels[1] > Module::kGreatestSide / mode.group)
    return module.wrong(kScales, absl::StrCat(levels[1], " columns"), "at most 2^40 inputs");
  const int64_t in = levels[1] * mode.group;
  SWAGE_ASSIGN_OR_RETURN(at::Tensor codes, read_codes(module, mode, out, in));
  Parts parts = {{"codes", std::move(codes)}};
  if (mode.is_affine())
    return read_affine(module, mode, std::move(codec), out, in, std::move(parts));
  SWAGE_RETURN_IF_ERROR(module.expect_absent(kBiases, "none of floats"));
  SWAGE_RETURN_IF_ERROR(module.expect_absent("global_scale", "none: it is not supported"));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales,
                         module.read(kScales, {at::kByte}, {out, levels[1]}));
  const bool nested = mode.name == "nvfp4";
  parts["scales"] = nested ? scales.contiguous().view(at::kFloat8_e4m3fn) : scales;
  if (nested) parts["outer_scales"] = at::ones({1, 1});
  return Result(module.name(), std::move(codec), out, in, std::move(parts));
}

}  // namespace swage::mlx
