#pragma once
#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "algorithm.h"
#include "swage/exporter.h"
#include "swage/store/stored_module.h"

// The tensors of one linear.
namespace swage::modelopt {

absl::Status write_linear(const Result& linear, const Quantization& quantization, TensorSink& sink);
// Scales of integers become `scale_dtype`, if that is a dtype.
absl::StatusOr<Result> read_linear(const store::StoredModule& module,
                                   const Quantization& quantization, at::ScalarType scale_dtype);

}  // namespace swage::modelopt
