#include "algorithm.h"

#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/fp8_form.h"
#include "swage/store/integer_form.h"

namespace swage::modelopt {
namespace {

using store::Fp8Form;
using store::Fp8Input;
using Extent = Fp8Form::Extent;

constexpr int64_t kNvfp4Columns = 16;
constexpr std::pair<Algorithm, const char*> kNames[] = {
    {Algorithm::kFp8, "FP8"},
    {Algorithm::kFp8PerToken, "FP8_PER_CHANNEL_PER_TOKEN"},
    {Algorithm::kNvfp4, "NVFP4"},
    {Algorithm::kW4Nvfp4, "W4A16_NVFP4"},
    {Algorithm::kW4Awq, "W4A16_AWQ"}};

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::StatusOr<Quantization> fp8(const Codec& weight, const Codec* activation) {
  SWAGE_ASSIGN_OR_RETURN(const Fp8Form form, store::fp8_form(weight));
  if (form.extent == Extent::kBlock)
    return refused("it has no scales for blocks here; export these with use = \"fp8\"");
  const bool tensor = form.extent == Extent::kTensor;
  const std::string wanted =
      tensor ? "{ format = \"fp8-e4m3\", granularity = \"tensor\", dynamic = false }"
             : "{ format = \"fp8-e4m3\", granularity = \"token\" }";
  if (activation == nullptr)
    return refused("its readers quantize inputs, too; write activation = " + wanted);
  SWAGE_ASSIGN_OR_RETURN(const Fp8Input input, store::fp8_input(*activation));
  if (input.group != 0 || input.dynamic == tensor)
    return refused(absl::StrCat("beside one scale for ", tensor ? "a tensor" : "a row",
                                " its readers have ", tensor ? "a static one" : "one for a token",
                                " of the inputs; write activation = ", wanted));
  return Quantization{tensor ? Algorithm::kFp8 : Algorithm::kFp8PerToken, 0};
}

// Readers multiply by weight_scale_2 and input_scale.
absl::Status check_multiplies(const Codec& codec, const char* table) {
  const Value keys(codec.scheme().keys);
  if (keys.str("tensor_scale", "divides") != "multiplies")
    return refused(
        absl::StrCat("it stores a multiplier for the tensor, and no reciprocal is exact; "
                     "write tensor_scale = \"multiplies\" into the ",
                     table, " scheme"));
  if (keys.str("decoded", "bf16") != "bf16")
    return refused("its readers round code times scale to bf16; use decoded = \"bf16\"");
  return absl::OkStatus();
}

absl::StatusOr<Quantization> nvfp4(const Codec& weight, const Codec* activation) {
  SWAGE_RETURN_IF_ERROR(check_multiplies(weight, "weight"));
  if (activation == nullptr) return Quantization{Algorithm::kW4Nvfp4, kNvfp4Columns};
  const Value keys(activation->scheme().keys);
  if (activation->format() != "nvfp4" || keys.flag("dynamic", false))
    return refused(
        "beside nvfp4 weights its inputs are nvfp4 with dynamic = false, or stay in floats");
  SWAGE_RETURN_IF_ERROR(check_multiplies(*activation, "activation"));
  return Quantization{Algorithm::kNvfp4, kNvfp4Columns};
}

absl::StatusOr<Quantization> int4(const Codec& weight, const Codec* activation) {
  SWAGE_ASSIGN_OR_RETURN(const store::IntegerForm form, store::integer_form(weight));
  if (form.bits != 4 || !form.symmetric || form.group == 0)
    return refused(
        "its integers have 4 bits, symmetric, in groups; use bits = 4, symmetric = true, "
        "granularity = \"group\"");
  if (activation != nullptr)
    return refused("beside integers of 4 bits its inputs stay in floats; write no activation");
  return Quantization{Algorithm::kW4Awq, form.group};
}

}  // namespace

const char* name_of(Algorithm algorithm) {
  for (const auto& [known, name] : kNames) {
    if (known == algorithm) return name;
  }
  return "";
}

absl::StatusOr<Algorithm> algorithm_named(const std::string& name) {
  std::string names;
  for (const auto& [algorithm, known] : kNames) {
    if (name == known) return algorithm;
    absl::StrAppend(&names, names.empty() ? "\"" : " or \"", known, "\"");
  }
  return refused(names);
}

absl::StatusOr<Quantization> quantization_of(const Codec& weight, const Codec* activation) {
  if (weight.format() == "nvfp4") return nvfp4(weight, activation);
  if (weight.format() == "int") return int4(weight, activation);
  if (weight.format() == "fp8-e4m3") return fp8(weight, activation);
  return refused(absl::StrCat("it has no place for \"", weight.format(),
                              "\"; use \"fp8-e4m3\", \"nvfp4\" or \"int\""));
}

absl::StatusOr<Quantization> quantization_of(const LinearSummary& linear) {
  SWAGE_ASSIGN_OR_RETURN(const Quantization quantization,
                         quantization_of(*linear.weight, linear.activation.get()));
  if (quantization.group == 0) {
    SWAGE_RETURN_IF_ERROR(store::check_fp32_scales(linear));
    return quantization;
  }
  if (linear.in % quantization.group != 0)
    return refused(absl::StrCat("a row of ", linear.in, " inputs is no multiple of ",
                                quantization.group,
                                "; use a group that divides it, or keep this linear"));
  if (quantization.algorithm == Algorithm::kW4Awq && linear.out % 2 != 0)
    return refused(absl::StrCat("it packs two rows into one, and there are ", linear.out,
                                "; keep this linear"));
  return quantization;
}

absl::StatusOr<std::shared_ptr<const Codec>> weight_codec(const Quantization& quantization) {
  switch (quantization.algorithm) {
    case Algorithm::kFp8:
      return store::fp8_codec({Extent::kTensor});
    case Algorithm::kFp8PerToken:
      return store::fp8_codec({Extent::kChannel});
    case Algorithm::kW4Awq:
      return store::integer_codec({4, quantization.group, true, false});
    default:
      break;
  }
  Scheme scheme;
  scheme.format = "nvfp4";
  scheme.keys = {{"tensor_scale", "multiplies"}};
  return make_codec(scheme);
}

absl::StatusOr<std::shared_ptr<const Codec>> input_codec(const Quantization& quantization) {
  Fp8Input input;
  input.dynamic = quantization.algorithm == Algorithm::kFp8PerToken;
  if (input.dynamic || quantization.algorithm == Algorithm::kFp8)
    return store::fp8_input_codec(input);
  if (quantization.algorithm != Algorithm::kNvfp4) return std::shared_ptr<const Codec>();
  Scheme scheme;
  scheme.format = "nvfp4";
  scheme.keys = {{"dynamic", false}, {"tensor_scale", "multiplies"}};
  return make_codec(scheme);
}

}  // namespace swage::modelopt
