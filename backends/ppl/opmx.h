#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"

// What pmx's llama calls things.
namespace swage::ppl {

// InvalidArgument: pmx's llama holds no linear of this name.
absl::Status check_name(const std::string& linear);

// opmx_params.json. InvalidArgument: a model that is not llama, or a key that is missing.
absl::StatusOr<Value> opmx_params(const Value& model_config);

// Name in model.pth -> name of the tensor that belongs there. InvalidArgument: a tensor of the
// model that pmx's llama has no place for.
absl::StatusOr<Value> opmx_names(const Value& model_config,
                                 const std::vector<std::string>& tensors);

}  // namespace swage::ppl
