#include "layout.h"

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage::compressed_tensors {
namespace {

absl::Status refused(const std::string& scheme, const char* reason) {
  return absl::InvalidArgumentError(
      absl::StrCat("compressed-tensors cannot hold ", scheme, ": ", reason));
}

absl::Status check_weight(const WeightScheme& weight, int64_t in) {
  switch (weight.format) {
    case NumberFormat::kInt:
      break;
    case NumberFormat::kFp8E4M3:
      if (weight.granularity != Granularity::kGroup) break;
      return refused(describe(weight), "fp8 weights take one scale per channel or tensor");
    case NumberFormat::kFp8E5M2:
      return refused(describe(weight), "its fp8 numbers are e4m3; use format = \"fp8-e4m3\"");
    case NumberFormat::kDense:
      return refused("floats as a result", "a linear is quantized or kept; keep this one");
  }
  if (weight.granularity != Granularity::kGroup || in % weight.group_size == 0)
    return absl::OkStatus();
  return refused(describe(weight), absl::StrCat("the last group of ", in,
                                                " inputs is shorter, which its readers refuse "
                                                "or misread; use a group size that divides ",
                                                in)
                                       .c_str());
}

absl::Status check_activation(const WeightScheme& weight, const ActivationScheme& activation) {
  const std::string both = absl::StrCat(describe(weight), " with ", describe(activation));
  if (activation.format == NumberFormat::kFp8E5M2)
    return refused(both, "its fp8 numbers are e4m3; use format = \"fp8-e4m3\"");
  if (activation.format != weight.format)
    return refused(both, "weights and activations are both integers or both fp8");
  return absl::OkStatus();
}

}  // namespace

const char* format_name(Layout layout) {
  switch (layout) {
    case Layout::kPacked:
      return "pack-quantized";
    case Layout::kInt:
      return "int-quantized";
    case Layout::kFloat:
      break;
  }
  return "float-quantized";
}

absl::StatusOr<Layout> choose_layout(const Quantization& quantization, int64_t in) {
  const WeightScheme& weight = quantization.weight;
  SWAGE_RETURN_IF_ERROR(check_weight(weight, in));
  if (quantization.activation)
    SWAGE_RETURN_IF_ERROR(check_activation(weight, *quantization.activation));
  if (weight.format != NumberFormat::kInt) return Layout::kFloat;
  return weight.bits == 8 && quantization.activation ? Layout::kInt : Layout::kPacked;
}

}  // namespace swage::compressed_tensors
