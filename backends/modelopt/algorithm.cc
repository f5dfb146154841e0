#include "algorithm.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/fp8_form.h"
#include "swage/store/integer_form.h"

namespace swage::modelopt {
namespace {

using store::Fp8Form;
using store::Fp8Input;
using Extent = Fp8Form::Extent;

constexpr int64_t kNvfp4Columns = 16, kMxfp8Columns = 32, kBlock = 128;
constexpr std::pair<Algorithm, const char*> kNames[] = {
    {Algorithm::kFp8, "FP8"},
    {Algorithm::kFp8PerToken, "FP8_PER_CHANNEL_PER_TOKEN"},
    {Algorithm::kFp8Blocks, "FP8_PB_WO"},
    {Algorithm::kMxfp8, "MXFP8"},
    {Algorithm::kNvfp4, "NVFP4"},
    {Algorithm::kW4Nvfp4, "W4A16_NVFP4"},
    {Algorithm::kW4Awq, "W4A16_AWQ"},
    {Algorithm::kInt8, "W8A8_SQ_PER_CHANNEL"}};

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::StatusOr<Quantization> fp8(const Codec& weight, const Codec* activation) {
  SWAGE_ASSIGN_OR_RETURN(const Fp8Form form, store::fp8_form(weight));
  if (form.extent == Extent::kBlock) {
    if (form.rows != kBlock || form.columns != kBlock)
      return refused("its blocks have 128 rows and 128 columns; state no others");
    if (activation != nullptr)
      return refused(
          "beside blocks its inputs stay in floats; write no activation, or export with use = "
          "\"fp8\"");
    return Quantization{Algorithm::kFp8Blocks, 0};
  }
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

absl::Status check_mxfp8(const Codec& codec) {
  const Value keys(codec.scheme().keys);
  if (keys.str("element", "e4m3") != "e4m3") return refused("its elements are e4m3; use that");
  if (keys.str("decoded", "bf16") != "bf16")
    return refused("its readers round code times scale to bf16; use decoded = \"bf16\"");
  if (keys.str("scale_rule", "even") == "four-thirds")
    return refused("its scales are powers of two, not thirds of them; use another scale_rule");
  return absl::OkStatus();
}

// Are inputs what this algorithm makes of them?
bool has_inputs_of(const Quantization& quantization, const Codec& activation) {
  const auto own = input_codec(quantization);
  return own.ok() && activation.form() == (*own)->form();
}

absl::StatusOr<Quantization> mxfp8(const Codec& weight, const Codec* activation) {
  SWAGE_RETURN_IF_ERROR(check_mxfp8(weight));
  const Quantization quantization{Algorithm::kMxfp8, kMxfp8Columns};
  if (activation != nullptr && has_inputs_of(quantization, *activation)) return quantization;
  return refused(
      "its readers quantize inputs, too, and scale them by \"even\"; write activation = { format = "
      "\"mxfp8\" }");
}

absl::StatusOr<Quantization> int8(const store::IntegerForm& form, const Codec& activation) {
  const Quantization quantization{Algorithm::kInt8, 0};
  if (form.bits == 8 && form.symmetric && form.group == 0 &&
      has_inputs_of(quantization, activation))
    return quantization;
  return refused(
      "its integers under quantized inputs have 8 bits, symmetric, a scale for each row and a "
      "static one for the inputs; use bits = 8, granularity = \"channel\" and activation = { bits "
      "= "
      "8, granularity = \"tensor\", dynamic = false }, or write no activation beside 4 bits");
}

absl::StatusOr<Quantization> integers(const Codec& weight, const Codec* activation) {
  SWAGE_ASSIGN_OR_RETURN(const store::IntegerForm form, store::integer_form(weight));
  if (activation != nullptr) return int8(form, *activation);
  if (form.bits != 4 || !form.symmetric || form.group == 0)
    return refused(
        "its integers have 4 bits, symmetric, in groups; use bits = 4, symmetric = true, "
        "granularity = \"group\"");
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
    if (absl::EqualsIgnoreCase(name, known)) return algorithm;  // ModelOpt says "fp8_pb_wo", too
    absl::StrAppend(&names, names.empty() ? "\"" : " or \"", known, "\"");
  }
  return refused(names);
}

absl::StatusOr<Quantization> quantization_of(const Codec& weight, const Codec* activation) {
  if (weight.format() == "nvfp4") return nvfp4(weight, activation);
  if (weight.format() == "mxfp8") return mxfp8(weight, activation);
  if (weight.format() == "int") return integers(weight, activation);
  if (weight.format() == "fp8-e4m3") return fp8(weight, activation);
  return refused(absl::StrCat("it has no place for \"", weight.format(),
                              "\"; use \"fp8-e4m3\", \"mxfp8\", \"nvfp4\" or \"int\""));
}

absl::StatusOr<Quantization> quantization_of(const LinearSummary& linear) {
  SWAGE_ASSIGN_OR_RETURN(const Quantization quantization,
                         quantization_of(*linear.weight, linear.activation.get()));
  if (quantization.is_fp8()) SWAGE_RETURN_IF_ERROR(store::check_fp32_scales(linear));
  if (quantization.algorithm == Algorithm::kFp8Blocks &&
      (linear.in % kBlock != 0 || linear.out % kBlock != 0))
    return refused(absl::StrCat("its blocks are whole, and ", linear.out, " by ", linear.in,
                                " is no multiple of 128; keep this linear"));
  if (quantization.group == 0) return quantization;
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
    case Algorithm::kFp8Blocks:
      return store::fp8_codec({Extent::kBlock, kBlock, kBlock});
    case Algorithm::kW4Awq:
      return store::integer_codec({4, quantization.group, true, false});
    case Algorithm::kInt8:
      return store::integer_codec({8, 0, true, false});
    default:
      break;
  }
  Scheme scheme;
  if (quantization.algorithm == Algorithm::kMxfp8) {
    scheme.format = "mxfp8";
    return make_codec(scheme);
  }
  scheme.format = "nvfp4";
  scheme.keys = {{"tensor_scale", "multiplies"}};
  return make_codec(scheme);
}

absl::StatusOr<std::shared_ptr<const Codec>> input_codec(const Quantization& quantization) {
  Fp8Input input;
  input.dynamic = quantization.algorithm == Algorithm::kFp8PerToken;
  if (input.dynamic || quantization.algorithm == Algorithm::kFp8)
    return store::fp8_input_codec(input);
  Scheme scheme;
  if (quantization.algorithm == Algorithm::kMxfp8) {
    scheme.format = "mxfp8";
    scheme.keys = {{"dynamic", true}, {"scale_rule", "even"}};
    return make_codec(scheme);
  }
  if (quantization.algorithm == Algorithm::kInt8) {
    scheme.keys = {{"bits", 8}, {"symmetric", true}, {"granularity", "tensor"}, {"dynamic", false}};
    return make_codec(scheme);
  }
  if (quantization.algorithm != Algorithm::kNvfp4) return std::shared_ptr<const Codec>();
  scheme.format = "nvfp4";
  scheme.keys = {{"dynamic", false}, {"tensor_scale", "multiplies"}};
  return make_codec(scheme);
}

}  // namespace swage::modelopt
