#include "stored_linear.h"

#include <ATen/TensorOperators.h>

#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/fp8_form.h"
#include "swage/store/integer_form.h"
#include "swage/store/packing.h"
#include "swage/store/row_pairs.h"

namespace swage::modelopt {
namespace {

using Module = store::StoredModule;
using Shape = Module::Shape;

constexpr char kScale[] = "weight_scale", kSecond[] = "weight_scale_2", kInput[] = "input_scale",
               kBefore[] = "pre_quant_scale";

absl::StatusOr<Result> read_nvfp4(const Module& module, std::shared_ptr<const Codec> codec,
                                  int64_t group) {
  SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight", 2));
  const int64_t out = shape[0], in = 2 * shape[1];
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor pairs, module.read("weight", {at::kByte}, shape));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales, module.read(kScale, {at::kFloat8_e4m3fn},
                                                              {out, (in + group - 1) / group}));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor outer, module.read(kSecond, {at::kFloat}, {1}));
  return Result(module.name(), std::move(codec), out, in,
                {{"codes", store::unpack_pairs(pairs)},
                 {"scales", scales},
                 {"outer_scales", outer.reshape({1, 1})}});
}

absl::StatusOr<Result> read_mxfp8(const Module& module, std::shared_ptr<const Codec> codec,
                                  int64_t group) {
  SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight", 2));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor codes,
                         module.read("weight", {at::kFloat8_e4m3fn}, shape));
  if (shape[1] % group != 0)
    return module.wrong("weight", absl::StrCat(shape[1], " columns"),
                        absl::StrCat("a multiple of ", group));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales,
                         module.read(kScale, {at::kByte}, {shape[0], shape[1] / group}));
  return Result(module.name(), std::move(codec), shape[0], shape[1],
                {{"codes", codes}, {"scales", scales}});
}

// Blocks under scales [block rows, 1, block columns, 1], which some write without the ones.
absl::StatusOr<Result> read_blocks(const Module& module, std::shared_ptr<const Codec> codec) {
  SWAGE_ASSIGN_OR_RETURN(const store::Fp8Form form, store::fp8_form(*codec));
  if (module.shape(kScale, 2).ok()) return store::read_fp8(module, form, kScale);
  SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight", 2));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor codes,
                         module.read("weight", {at::kFloat8_e4m3fn}, shape));
  const int64_t rows = (shape[0] + form.rows - 1) / form.rows;
  const int64_t columns = (shape[1] + form.columns - 1) / form.columns;
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales,
                         module.read(kScale, store::float_types(), {rows, 1, columns, 1}));
  return Result(module.name(), std::move(codec), shape[0], shape[1],
                {{"codes", codes}, {"scales", scales.to(at::kFloat).view({rows, columns})}});
}

absl::StatusOr<Result> read_int8(const Module& module, std::shared_ptr<const Codec> codec,
                                 at::ScalarType scale_dtype) {
  SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight", 2));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor codes, module.read("weight", {at::kChar}, shape));
  SWAGE_ASSIGN_OR_RETURN(at::Tensor scales, module.read(kScale, store::float_types(), {shape[0]}));
  if (scale_dtype != at::ScalarType::Undefined) {
    SWAGE_ASSIGN_OR_RETURN(scales, store::cast_exactly(scales, scale_dtype));
  }
  return Result(module.name(), std::move(codec), shape[0], shape[1],
                {{"codes", codes}, {"scales", scales.view({shape[0], 1})}});
}

absl::StatusOr<Result> read_int4(const Module& module, std::shared_ptr<const Codec> codec,
                                 int64_t group, at::ScalarType scale_dtype) {
  SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight", 2));
  const int64_t out = 2 * shape[0], in = shape[1];
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor bytes, module.read("weight", {at::kByte}, shape));
  SWAGE_ASSIGN_OR_RETURN(at::Tensor scales, module.read(kScale, store::float_types(),
                                                        {out, (in + group - 1) / group}));
  if (scale_dtype != at::ScalarType::Undefined) {
    SWAGE_ASSIGN_OR_RETURN(scales, store::cast_exactly(scales, scale_dtype));
  }
  const Result linear(module.name(), std::move(codec), out, in,
                      {{"codes", store::unpack_row_pairs(bytes)}, {"scales", scales}});
  if (!module.has(kBefore)) return linear;
  // Of what other tools wrote: inputs are multiplied by it, so the weight may be instead.
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor before, module.read(kBefore, store::float_types(), {in}));
  SWAGE_RETURN_IF_ERROR(validate(linear));
  return dense_result(module.name(), decode(linear) * before.to(at::kFloat));
}

absl::StatusOr<Result> read_weight(const Module& module, const Quantization& quantization,
                                   std::shared_ptr<const Codec> codec, at::ScalarType scale_dtype) {
  switch (quantization.algorithm) {
    case Algorithm::kFp8:
    case Algorithm::kFp8PerToken:
      return store::read_fp8(module, *store::fp8_form(*codec), kScale);
    case Algorithm::kFp8Blocks:
      return read_blocks(module, std::move(codec));
    case Algorithm::kMxfp8:
      return read_mxfp8(module, std::move(codec), quantization.group);
    case Algorithm::kInt8:
      return read_int8(module, std::move(codec), scale_dtype);
    case Algorithm::kW4Awq:
      return read_int4(module, std::move(codec), quantization.group, scale_dtype);
    default:
      return read_nvfp4(module, std::move(codec), quantization.group);
  }
}

}  // namespace

absl::Status write_linear(const Result& linear, const Quantization& quantization,
                          TensorSink& sink) {
  SWAGE_RETURN_IF_ERROR(store::put_input_scale(linear, kInput, sink));
  const at::Tensor &codes = linear.part("codes"), &scales = linear.part("scales");
  const std::string weight = linear.name() + ".weight", scale = linear.name() + "." + kScale;
  switch (quantization.algorithm) {
    case Algorithm::kFp8:
    case Algorithm::kFp8PerToken:
      return store::put_fp8(linear, kScale, sink);
    case Algorithm::kFp8Blocks:
      SWAGE_RETURN_IF_ERROR(sink.put(weight, codes));
      return sink.put(scale, scales.to(at::kFloat).unsqueeze(1).unsqueeze(-1));
    case Algorithm::kMxfp8:
      SWAGE_RETURN_IF_ERROR(sink.put(weight, codes));
      return sink.put(scale, scales);
    case Algorithm::kInt8:
      SWAGE_RETURN_IF_ERROR(sink.put(weight, codes));
      return sink.put(scale, scales.to(at::kFloat).view({linear.out()}));
    default:
      break;
  }
  if (quantization.algorithm == Algorithm::kW4Awq) {
    SWAGE_RETURN_IF_ERROR(sink.put(weight, store::pack_row_pairs(codes)));
    return sink.put(scale, scales.to(at::kFloat));
  }
  SWAGE_RETURN_IF_ERROR(sink.put(weight, store::pack_pairs(codes)));
  SWAGE_RETURN_IF_ERROR(sink.put(scale, scales));
  return sink.put(linear.name() + "." + kSecond, linear.part("outer_scales").reshape({}));
}

absl::StatusOr<Result> read_linear(const Module& module, const Quantization& quantization,
                                   at::ScalarType scale_dtype) {
  SWAGE_ASSIGN_OR_RETURN(auto codec, weight_codec(quantization));
  SWAGE_ASSIGN_OR_RETURN(auto inputs, input_codec(quantization));
  if (!quantization.is_nvfp4())
    SWAGE_RETURN_IF_ERROR(module.expect_absent(kSecond, "none beside this quant_algo"));
  if (quantization.algorithm != Algorithm::kW4Awq)
    SWAGE_RETURN_IF_ERROR(module.expect_absent(kBefore, "none beside this quant_algo"));
  absl::StatusOr<Result> linear = read_weight(module, quantization, std::move(codec), scale_dtype);
  SWAGE_RETURN_IF_ERROR(linear.status());
  if (inputs == nullptr) {
    SWAGE_RETURN_IF_ERROR(module.expect_absent(kInput, "none: inputs stay in floats"));
    return linear;
  }
  SWAGE_ASSIGN_OR_RETURN(auto quantizer,
                         store::read_input_scale(module, std::move(inputs), kInput));
  linear->set_activation(std::move(quantizer));
  return linear;
}

}  // namespace swage::modelopt
