#pragma once
#include "absl/status/statusor.h"
#include "swage/io/safetensors_header.h"
#include "swage/weight_source.h"

namespace swage {

// Dtype and shape of every tensor as the source gives them (fp8 and GGUF weights in floats); byte
// ranges start at 0.
absl::StatusOr<io::Header> header_of(const WeightSource& source);

}  // namespace swage
