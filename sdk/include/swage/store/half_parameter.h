#pragma once
#include "absl/status/status.h"
#include "swage/export.h"
#include "swage/exporter.h"

namespace swage::store {

// Puts a parameter for readers that compute in fp16 alone: floats as fp16, all else as it is.
// InvalidArgument: values beyond the range of fp16, which `format` computes in.
SWAGE_API absl::Status put_half(const Parameter& parameter, const std::string& format,
                                TensorSink& sink);

}  // namespace swage::store
