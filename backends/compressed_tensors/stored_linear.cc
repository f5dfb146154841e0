#include "stored_linear.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "arguments.h"
#include "swage/status.h"
#include "swage/store/packing.h"
#include "swage/store/stored_module.h"

namespace swage::compressed_tensors {
namespace {

using store::pack;
using store::packed_words;
using store::unpack;
using Module = store::StoredModule;
using Shape = Module::Shape;
using Types = Module::Types;

constexpr int64_t kMaxSide = Module::kGreatestSide;

bool per_tensor(const Codec& codec) { return to_arguments(codec)->strategy == "tensor"; }

int bits_of(const Codec& codec) { return static_cast<int>(to_arguments(codec)->bits); }

std::string shown(const Shape& shape) { return absl::StrCat("[", absl::StrJoin(shape, ", "), "]"); }

// --- writing ---

// Packed zero points run along the rows, which are therefore the columns of what is packed.
at::Tensor stored_zeros(const Result& linear, Layout layout) {
  const at::Tensor& zeros = linear.part("zeros");
  if (per_tensor(*linear.codec())) return zeros.reshape({1});
  if (layout != Layout::kPacked) return zeros;
  return pack(zeros.t(), bits_of(*linear.codec())).t().contiguous();
}

absl::Status put_activation(const Result& linear, TensorSink& sink) {
  if (!linear.activation() || linear.activation()->levels.empty()) return absl::OkStatus();
  const Parts& levels = linear.activation()->levels;
  if (const at::Tensor& outer = part(levels, "outer_scales"); outer.defined())
    return sink.put(linear.name() + ".input_global_scale", outer.to(at::kFloat).reshape({1}));
  if (const at::Tensor& exact = part(levels, "zeros"); exact.defined()) {
    const at::Tensor zero = exact.to(at::kChar);
    if (!at::equal(zero.to(at::kFloat), exact.to(at::kFloat))) {
      return absl::InvalidArgumentError(
          absl::StrCat(linear.name(), ": the zero point of its input is ", exact.item<double>(),
                       ", expected an integer of 8 bits"));
    }
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".input_zero_point", zero.reshape({1})));
  }
  return sink.put(linear.name() + ".input_scale",
                  part(levels, "scales").to(at::kFloat).reshape({1}));
}

absl::Status put_codes(const Result& linear, Layout layout, TensorSink& sink) {
  const at::Tensor& codes = linear.part("codes");
  switch (layout) {
    case Layout::kPacked: {
      SWAGE_RETURN_IF_ERROR(
          sink.put(linear.name() + ".weight_packed", pack(codes, bits_of(*linear.codec()))));
      const at::Tensor shape =
          at::tensor(at::ArrayRef<int64_t>{linear.out(), linear.in()}, at::kLong);
      return sink.put(linear.name() + ".weight_shape", shape);
    }
    case Layout::kNvfp4:
    case Layout::kMxfp4:
      return sink.put(linear.name() + ".weight_packed", store::pack_pairs(codes));
    default:
      return sink.put(linear.name() + ".weight", codes);
  }
}

// --- reading ---

// What is read of one linear, part by part.
struct Reading {
  const Module& module;
  const Codec& codec;
  const Layout layout;
  const Arguments arguments;
  int64_t out = 0, in = 0;
  Parts parts;

  absl::Status packed_codes() {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor shape, module.read("weight_shape", {at::kLong}, {2}));
    out = shape[0].item<int64_t>();
    in = shape[1].item<int64_t>();
    if (out < 1 || out > kMaxSide || in < 1 || in > kMaxSide)
      return module.wrong("weight_shape", shown({out, in}), "rows and columns");
    const int bits = bits_of(codec);
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor words,
                           module.read("weight_packed", {at::kInt}, {out, packed_words(in, bits)}));
    parts["codes"] = unpack(words, bits, in);
    return absl::OkStatus();
  }

  absl::Status paired_codes() {
    SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight_packed", 2));
    out = shape[0];
    in = 2 * shape[1];
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor pairs,
                           module.read("weight_packed", {at::kByte}, shape));
    parts["codes"] = store::unpack_pairs(pairs);
    return absl::OkStatus();
  }

  absl::Status codes() {
    if (layout == Layout::kPacked) return packed_codes();
    if (layout == Layout::kNvfp4 || layout == Layout::kMxfp4) return paired_codes();
    SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight", 2));
    out = shape[0];
    in = shape[1];
    const at::ScalarType type = layout == Layout::kInt ? at::kChar : at::kFloat8_e4m3fn;
    SWAGE_ASSIGN_OR_RETURN(parts["codes"], module.read("weight", {type}, shape));
    return absl::OkStatus();
  }

  int64_t groups() const {
    const int64_t width = arguments.group_size > 0 ? arguments.group_size : in;
    return (in + width - 1) / width;
  }

  // As the parts of the format have it, and as the file does.
  absl::Status scales() {
    Types types = store::float_types();
    Shape shape = {out, groups()};
    if (arguments.strategy == "tensor") shape = {1};
    if (arguments.strategy == "block")
      shape = {(out + arguments.block_rows - 1) / arguments.block_rows,
               (in + arguments.block_columns - 1) / arguments.block_columns};
    if (layout == Layout::kNvfp4) types = {at::kFloat8_e4m3fn};
    if (arguments.is_mx()) types = {at::kByte};
    SWAGE_ASSIGN_OR_RETURN(at::Tensor scales, module.read("weight_scale", types, shape));
    if (arguments.strategy == "tensor") scales = scales.reshape({1, 1});
    parts["scales"] = std::move(scales);
    if (layout != Layout::kNvfp4) return absl::OkStatus();
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor global,
                           module.read("weight_global_scale", {at::kFloat}, {1}));
    parts["outer_scales"] = global.reshape({1, 1});
    return absl::OkStatus();
  }

  absl::Status zeros() {
    constexpr char kPart[] = "weight_zero_point";
    if (arguments.symmetric) return module.expect_absent(kPart, "none in a symmetric scheme");
    const bool one = arguments.strategy == "tensor";
    if (layout != Layout::kPacked || one) {
      const Shape shape = one ? Shape{1} : Shape{out, groups()};
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor zeros, module.read(kPart, {at::kChar}, shape));
      parts["zeros"] = zeros.reshape(parts["scales"].sizes());
      return absl::OkStatus();
    }
    const int64_t words = packed_words(out, bits_of(codec));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor packed,
                           module.read(kPart, {at::kInt}, {words, groups()}));
    parts["zeros"] = unpack(packed.t(), bits_of(codec), out).t().contiguous();
    return absl::OkStatus();
  }
};

absl::StatusOr<ActivationQuantizer> read_activation(const Module& module,
                                                    std::shared_ptr<const Codec> codec) {
  ActivationQuantizer quantizer{std::move(codec), {}};
  const Parts wanted = quantizer.codec->input_levels(-1, 1);
  if (wanted.count("outer_scales") != 0) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor outer,
                           module.read("input_global_scale", {at::kFloat}, {1}));
    quantizer.levels["outer_scales"] = outer.reshape({1, 1});
    return quantizer;
  }
  if (wanted.empty()) return quantizer;
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor scale,
                         module.read("input_scale", store::float_types(), {1}));
  quantizer.levels["scales"] = scale.to(at::kFloat).reshape({1, 1});
  if (wanted.count("zeros") == 0) return quantizer;
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor zero, module.read("input_zero_point", {at::kChar}, {1}));
  quantizer.levels["zeros"] = zero.to(at::kFloat).reshape({1, 1});
  return quantizer;
}

}  // namespace

absl::Status write_linear(const Result& linear, Layout layout, TensorSink& sink) {
  SWAGE_RETURN_IF_ERROR(put_activation(linear, sink));
  SWAGE_RETURN_IF_ERROR(put_codes(linear, layout, sink));
  const at::Tensor& scales = linear.part("scales");
  SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".weight_scale",
                                 per_tensor(*linear.codec()) ? scales.reshape({1}) : scales));
  if (const at::Tensor& outer = linear.part("outer_scales"); outer.defined())
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".weight_global_scale", outer.reshape({1})));
  if (!linear.part("zeros").defined()) return absl::OkStatus();
  return sink.put(linear.name() + ".weight_zero_point", stored_zeros(linear, layout));
}

absl::StatusOr<Result> read_linear(const StoredAs& stored, const Module& module) {
  const std::shared_ptr<const Codec>& codec = stored.quantization.weight;
  SWAGE_RETURN_IF_ERROR(
      module.expect_absent("weight_g_idx", "none: groups of scattered columns are not supported"));
  SWAGE_ASSIGN_OR_RETURN(const Arguments arguments, to_arguments(*codec));
  if (stored.layout != Layout::kNvfp4) {
    for (const char* part : {"weight_global_scale", "input_global_scale"})
      SWAGE_RETURN_IF_ERROR(module.expect_absent(part, "none in this format"));
  }
  Reading reading{module, *codec, stored.layout, arguments, 0, 0, {}};
  SWAGE_RETURN_IF_ERROR(reading.codes());
  SWAGE_RETURN_IF_ERROR(reading.scales());
  SWAGE_RETURN_IF_ERROR(reading.zeros());
  Result linear(module.name(), codec, reading.out, reading.in, std::move(reading.parts));
  if (const auto& activation = stored.quantization.activation) {
    SWAGE_ASSIGN_OR_RETURN(ActivationQuantizer quantizer, read_activation(module, activation));
    linear.set_activation(std::move(quantizer));
  }
  return linear;
}

}  // namespace swage::compressed_tensors
