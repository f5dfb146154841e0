#pragma once
#include <optional>

#include "absl/status/statusor.h"
#include "swage/scheme.h"

namespace swage::compressed_tensors {

// The schemes of one linear, as a config group states them.
struct Quantization {
  WeightScheme weight;
  std::optional<ActivationScheme> activation;
};

// Which tensors a linear becomes.
enum class Layout {
  kPacked,  // "pack-quantized": integers packed into int32, with a scale per row, group or tensor
  kInt,     // "int-quantized": one int8 a weight
  kFloat    // "float-quantized": one fp8 a weight
};
const char* format_name(Layout layout);

// The layout that holds these schemes for a linear with `in` inputs. InvalidArgument: why none
// does.
absl::StatusOr<Layout> choose_layout(const Quantization& quantization, int64_t in);

}  // namespace swage::compressed_tensors
