#include "layout.h"

#include "absl/strings/str_cat.h"
#include "arguments.h"
#include "swage/status.h"

namespace swage::compressed_tensors {
namespace {

constexpr std::pair<Layout, const char*> kNames[] = {
    {Layout::kPacked, "pack-quantized"},      {Layout::kInt, "int-quantized"},
    {Layout::kFloat, "float-quantized"},      {Layout::kNvfp4, "nvfp4-pack-quantized"},
    {Layout::kMxfp4, "mxfp4-pack-quantized"}, {Layout::kMxfp8, "mxfp8-quantized"}};

absl::Status refused(const std::string& reason) { return absl::InvalidArgumentError(reason); }

// Groups fill a row in every layout.
absl::Status check_groups(const Codec& weight, int64_t group, int64_t in) {
  if (group == 0 || in % group == 0) return absl::OkStatus();
  if (weight.format() != "int")
    return refused(
        absl::StrCat("a row of ", in, " inputs is no multiple of ", group, "; keep this linear"));
  return refused(absl::StrCat("the last group of ", in,
                              " inputs is shorter, which its readers "
                              "refuse or misread; use a group size that divides ",
                              in));
}

absl::Status check_activation(const Quantization& quantization, int64_t in) {
  const Arguments weight = *to_arguments(*quantization.weight);
  const auto activation = input_arguments(*quantization.activation);
  if (!activation.ok()) return refused(std::string(activation.status().message()));
  if (activation->type != weight.type)
    return refused("weights and activations are both integers or both fp8");
  const bool same_floats =
      activation->bits == weight.bits && activation->strategy_family() == weight.strategy_family();
  if (weight.type == "float" && !same_floats)
    return refused("weights and activations in floats have one format");
  if (activation->group_size > 0 && in % activation->group_size != 0)
    return refused(absl::StrCat("its readers refuse inputs of ", in,
                                " columns that are no multiple of a group of ",
                                activation->group_size));
  return absl::OkStatus();
}

}  // namespace

const char* format_name(Layout layout) {
  for (const auto& [known, name] : kNames) {
    if (known == layout) return name;
  }
  return "";
}

absl::StatusOr<Layout> layout_named(const std::string& format) {
  std::string names;
  for (const auto& [layout, name] : kNames) {
    if (format == name) return layout;
    absl::StrAppend(&names, names.empty() ? "\"" : " or \"", name, "\"");
  }
  return absl::InvalidArgumentError(names);
}

absl::StatusOr<Layout> choose_layout(const Quantization& quantization, int64_t out, int64_t in) {
  const Codec& weight = *quantization.weight;
  if (weight.code_bits() == 0) return refused("a linear is quantized or kept; keep this one");
  const auto arguments = to_arguments(weight);
  if (!arguments.ok()) return refused(std::string(arguments.status().message()));
  SWAGE_RETURN_IF_ERROR(check_groups(weight, arguments->group_size, in));
  if (quantization.activation) SWAGE_RETURN_IF_ERROR(check_activation(quantization, in));
  if (arguments->type == "int")
    return arguments->bits == 8 && quantization.activation ? Layout::kInt : Layout::kPacked;
  if (arguments->strategy == "tensor_group") return Layout::kNvfp4;
  if (!arguments->is_mx()) return Layout::kFloat;
  return arguments->bits == 4 ? Layout::kMxfp4 : Layout::kMxfp8;
}

}  // namespace swage::compressed_tensors
