#include "scheme.h"

#include <ATen/ops/ones.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/fp8_form.h"
#include "swage/store/integer_form.h"
#include "swage/store/row_pairs.h"

namespace swage::trtllm {
namespace {

using Kind = Quantization::Kind;
using Module = store::StoredModule;
using Shape = Module::Shape;

constexpr char kScale[] = "weights_scaling_factor", kInput[] = "activation_scaling_factor",
               kBefore[] = "prequant_scaling_factor", kRowScale[] = "per_channel_scale",
               kSmoother[] = "smoother";
constexpr char kAlgorithm[] = "quant_algo", kGroup[] = "group_size";
constexpr const char* kNames[] = {"FP8", "W4A16_AWQ", "W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN"};

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::StatusOr<Quantization> fp8(const Codec& weight, const Codec* activation) {
  constexpr char kWanted[] =
      "its fp8 has one scale for a tensor and a static one of the inputs; use granularity = "
      "\"tensor\", share = \"fused\" and activation = { format = \"fp8-e4m3\", granularity = "
      "\"tensor\", dynamic = false }";
  SWAGE_ASSIGN_OR_RETURN(const store::Fp8Form form, store::fp8_form(weight));
  if (form.extent != store::Fp8Form::Extent::kTensor || activation == nullptr)
    return refused(kWanted);
  SWAGE_ASSIGN_OR_RETURN(const store::Fp8Input input, store::fp8_input(*activation));
  if (input.dynamic) return refused(kWanted);
  return Quantization{Kind::kFp8, 0};
}

bool is_int8_token(const Codec& activation) {
  const Value keys(activation.scheme().keys);
  return activation.format() == "int" && keys.i64("bits", 8) == 8 && keys.flag("symmetric", true) &&
         keys.flag("dynamic", true) && keys.str("granularity", "token") == "token";
}

absl::StatusOr<std::shared_ptr<const Codec>> int8_token() {
  Scheme scheme;
  scheme.keys = {{"bits", 8}, {"dynamic", true}, {"granularity", "token"}, {"symmetric", true}};
  return make_codec(scheme);
}

absl::StatusOr<Quantization> integers(const Codec& weight, const Codec* activation) {
  SWAGE_ASSIGN_OR_RETURN(const store::IntegerForm form, store::integer_form(weight));
  if (!form.symmetric) return refused("its integers are symmetric; use symmetric = true");
  if (form.bits == 4 && form.group > 0 && activation == nullptr)
    return Quantization{Kind::kInt4, form.group};
  if (form.bits == 8 && form.group == 0 && activation != nullptr && is_int8_token(*activation))
    return Quantization{Kind::kInt8, 0};
  return refused(
      "it has 4 bits in groups with inputs in floats, or 8 bits with a scale for a row "
      "(granularity = \"channel\") and activation = { bits = 8 }");
}

// Outputs that are multiplied by ones are as they were.
absl::Status read_ones(const Module& module, const char* part, const Module::Types& types,
                       const Shape& shape) {
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor values, module.read(part, types, shape));
  if (values.to(at::kFloat).eq(1).all().item<bool>()) return absl::OkStatus();
  return module.wrong(part, "not 1 everywhere", "ones: scales are folded into what comes before");
}

// Linears whose inputs another linear makes, which is where TensorRT-LLM may scale them.
bool has_smoother(const std::string& name) {
  return absl::EndsWith(name, ".o_proj") || absl::EndsWith(name, ".down_proj");
}

absl::StatusOr<Result> read_int4(const Module& module, int64_t group) {
  SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight", 2));
  const int64_t out = 2 * shape[0], in = shape[1];
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor bytes, module.read("weight", {at::kChar}, shape));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales,
                         module.read(kScale, {at::kHalf}, {out, (in + group - 1) / group}));
  SWAGE_RETURN_IF_ERROR(read_ones(module, kBefore, {at::kHalf}, {in}));
  SWAGE_ASSIGN_OR_RETURN(auto codec, store::integer_codec({4, group, true, false}));
  return Result(module.name(), std::move(codec), out, in,
                {{"codes", store::unpack_row_pairs(bytes.view(at::kByte))}, {"scales", scales}});
}

absl::StatusOr<Result> read_int8(const Module& module) {
  SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight", 2));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor codes, module.read("weight", {at::kChar}, shape));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales,
                         module.read(kRowScale, {at::kFloat}, {1, shape[0]}));
  if (has_smoother(module.name()))
    SWAGE_RETURN_IF_ERROR(read_ones(module, kSmoother, {at::kFloat}, {1, shape[1]}));
  SWAGE_ASSIGN_OR_RETURN(auto codec, store::integer_codec({8, 0, true, false}));
  Result linear(module.name(), std::move(codec), shape[0], shape[1],
                {{"codes", codes}, {"scales", scales.reshape({shape[0], 1})}});
  SWAGE_ASSIGN_OR_RETURN(auto inputs, int8_token());
  linear.set_activation(ActivationQuantizer{std::move(inputs), {}});
  return linear;
}

}  // namespace

absl::StatusOr<Quantization> quantization_of(const Codec& weight, const Codec* activation) {
  if (weight.format() == "fp8-e4m3") return fp8(weight, activation);
  if (weight.format() == "int") return integers(weight, activation);
  return refused(
      absl::StrCat("it has no place for \"", weight.format(), "\"; use \"fp8-e4m3\" or \"int\""));
}

absl::StatusOr<Quantization> quantization_of(const LinearSummary& linear) {
  SWAGE_ASSIGN_OR_RETURN(const Quantization quantization,
                         quantization_of(*linear.weight, linear.activation.get()));
  if (quantization.kind != Kind::kInt4) {
    SWAGE_RETURN_IF_ERROR(store::check_fp32_scales(linear));
    return quantization;
  }
  const at::ScalarType type = store::scale_type(linear);
  if (type != at::kHalf)
    return refused(absl::StrCat("its scales are fp16 and these would be ", store::dtype_name(type),
                                "; write scale_dtype = \"fp16\" into the weight scheme"));
  return quantization;
}

Value to_value(const Quantization& quantization) {
  Value::Table table = {{kAlgorithm, kNames[static_cast<size_t>(quantization.kind)]},
                        {"kv_cache_quant_algo", Value()},
                        {"exclude_modules", Value::List{"lm_head"}}};
  if (quantization.kind == Kind::kInt4) {
    table[kGroup] = quantization.group;
    table["has_zero_point"] = false;
    table["pre_quant_scale"] = true;
  }
  return table;
}

absl::StatusOr<Quantization> from_value(const Value& table) {
  const auto wrong = [&](const char* key, const std::string& expected) {
    return refused(absl::StrCat("quantization.", key, " is ", to_json(table[key], -1),
                                ", expected ", expected));
  };
  Quantization quantization;
  const std::string name = table.str(kAlgorithm, "");
  size_t kind = 0;
  while (kind < std::size(kNames) && name != kNames[kind]) ++kind;
  if (kind == std::size(kNames))
    return wrong(kAlgorithm,
                 absl::StrCat("\"", kNames[0], "\", \"", kNames[1], "\" or \"", kNames[2], "\""));
  quantization.kind = static_cast<Kind>(kind);
  if (!table["kv_cache_quant_algo"].is_null()) return wrong("kv_cache_quant_algo", "null");
  if (quantization.kind != Kind::kInt4) return quantization;
  const int64_t* const group = table[kGroup].integer();
  if (group == nullptr || *group < 1 || *group > (int64_t{1} << 30))
    return wrong(kGroup, "columns of a group");
  if (table.flag("has_zero_point", false)) return wrong("has_zero_point", "false");
  quantization.group = *group;
  return quantization;
}

absl::Status write_linear(const Result& linear, const Quantization& quantization,
                          TensorSink& sink) {
  const auto put = [&](const char* part, const at::Tensor& tensor) {
    return sink.put(absl::StrCat(linear.name(), ".", part), tensor);
  };
  const at::Tensor &codes = linear.part("codes"), &scales = linear.part("scales");
  switch (quantization.kind) {
    case Kind::kFp8:
      SWAGE_RETURN_IF_ERROR(put("weight", codes));
      SWAGE_RETURN_IF_ERROR(put(kScale, scales.reshape({1})));
      return put(kInput, part(linear.activation()->levels, "scales").to(at::kFloat).reshape({1}));
    case Kind::kInt4:
      SWAGE_RETURN_IF_ERROR(put("weight", store::pack_row_pairs(codes).view(at::kChar)));
      SWAGE_RETURN_IF_ERROR(put(kScale, scales));
      return put(kBefore, at::ones({linear.in()}, at::kHalf));
    case Kind::kInt8:
      SWAGE_RETURN_IF_ERROR(put("weight", codes));
      SWAGE_RETURN_IF_ERROR(put(kRowScale, scales.reshape({1, linear.out()})));
      break;
  }
  if (!has_smoother(linear.name())) return absl::OkStatus();
  return put(kSmoother, at::ones({1, linear.in()}, at::kFloat));
}

absl::StatusOr<Result> read_linear(const Module& module, const Quantization& quantization) {
  if (quantization.kind == Kind::kInt4) return read_int4(module, quantization.group);
  if (quantization.kind == Kind::kInt8) return read_int8(module);
  SWAGE_ASSIGN_OR_RETURN(Result linear,
                         store::read_fp8(module, {store::Fp8Form::Extent::kTensor}, kScale));
  store::Fp8Input input;
  input.dynamic = false;
  SWAGE_ASSIGN_OR_RETURN(auto codec, store::fp8_input_codec(input));
  SWAGE_ASSIGN_OR_RETURN(auto quantizer, store::read_input_scale(module, std::move(codec), kInput));
  linear.set_activation(std::move(quantizer));
  return linear;
}

}  // namespace swage::trtllm
