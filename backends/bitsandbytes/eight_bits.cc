#include "eight_bits.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/integer_form.h"

namespace swage::bitsandbytes {
namespace {

using store::StoredModule;

constexpr double kGreatest = 127;
constexpr char kOrder[] = "weight_format";  // of the rows; 0: as they come

// Inputs that LLM.int8 rounds itself: a scale a token, symmetric.
absl::StatusOr<std::shared_ptr<const Codec>> input_codec() {
  return make_codec({"int", {{"bits", 8}, {"granularity", "token"}, {"dynamic", true}}});
}

}  // namespace

absl::Status fits_eight_bits(const LinearSummary& linear) {
  SWAGE_ASSIGN_OR_RETURN(const store::IntegerForm form, store::integer_form(*linear.weight));
  if (form.bits != 8 || form.group != 0 || !form.symmetric)
    return absl::InvalidArgumentError(
        "its integers are weight = { bits = 8, granularity = \"channel\", symmetric = true }, its "
        "4 bits format = \"nf4\" or \"bnb-fp4\"");
  if (store::scale_type(linear) == at::kFloat)
    return absl::InvalidArgumentError(
        "it stores 127 times a scale in fp32, which gives back scales of 16 bits alone; write "
        "scale_dtype = \"bf16\" or \"fp16\" into the weight scheme");
  if (!linear.activation) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const auto inputs, input_codec());
  if (linear.activation->form() == inputs->form()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "it rounds inputs to 8 bits with a scale a token; use activation = { bits = 8 }, or none");
}

absl::Status write_eight_bits(const Result& linear, TensorSink& sink) {
  const auto name = [&](const char* part) { return absl::StrCat(linear.name(), ".", part); };
  SWAGE_RETURN_IF_ERROR(sink.put(name("weight"), linear.part("codes")));
  SWAGE_RETURN_IF_ERROR(
      sink.put(name(kSizes), (linear.part("scales").to(at::kFloat) * kGreatest).flatten()));
  return sink.put(name(kOrder), at::zeros({}, at::kByte));
}

absl::StatusOr<Result> read_eight_bits(const StoredModule& module, const Value& config) {
  const Value& said = config["quantization_config"];
  SWAGE_ASSIGN_OR_RETURN(const StoredModule::Shape shape, module.shape("weight", 2));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor codes, module.read("weight", {at::kChar}, shape));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor sizes, module.read(kSizes, {at::kFloat}, {shape[0]}));
  if (module.has(kOrder)) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor order, module.read(kOrder, {at::kByte}, {1}));
    if (order.item<uint8_t>() != 0)
      return module.wrong(kOrder, absl::StrCat(order.item<uint8_t>()),
                          "0, rows as they come: save the checkpoint with bitsandbytes 0.42 or "
                          "newer");
  }
  const at::ScalarType type = store::dtype_named(said.str("scale_dtype", "float32"));
  at::Tensor scales = (sizes.to(at::kDouble) / kGreatest).to(at::kFloat).view({-1, 1});
  if (type != at::ScalarType::Undefined) {
    SWAGE_ASSIGN_OR_RETURN(scales, store::cast_exactly(scales, type));
  }
  store::IntegerForm form;
  form.bits = 8;
  SWAGE_ASSIGN_OR_RETURN(auto codec, store::integer_codec(form));
  Result linear(module.name(), std::move(codec), shape[0], shape[1],
                {{"codes", codes}, {"scales", scales}});
  if (said.f64("llm_int8_threshold", 6) != 0) return linear;
  SWAGE_ASSIGN_OR_RETURN(auto inputs, input_codec());
  linear.set_activation(ActivationQuantizer{std::move(inputs), {}});
  return linear;
}

}  // namespace swage::bitsandbytes
