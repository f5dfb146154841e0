#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mlc_model.h"

namespace swage::mlc {

// tensor-cache.json of a folder of safetensors files: where in them MLC's parameters lie, which it
// reads as bytes. InvalidArgument: a tensor in a dtype that q4f16_2 has not.
absl::StatusOr<Value> tensor_cache(const std::string& folder,
                                   const std::vector<MlcParameter>& parameters);

}  // namespace swage::mlc
