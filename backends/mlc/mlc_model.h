#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/value.h"

// The models of MLC: which of our tensors its parameters are.
namespace swage::mlc {

// One parameter of MLC: several tensors, one behind the other by rows, or one of its own name.
struct MlcParameter {
  std::string name;
  std::vector<std::string> tensors;
};

// InvalidArgument: MLC's models hold no linear of this name.
absl::Status check_name(const std::string& linear);

// Parameters of a model by its config.json, out of the names of all tensors; those that MLC has no
// place for are in none. InvalidArgument: MLC has no such model, or a tensor is missing or too
// many.
absl::StatusOr<std::vector<MlcParameter>> mlc_parameters(const Value& model_config,
                                                         const std::vector<std::string>& tensors);

// mlc-chat-config.json, with a conversation that is plain text.
Value chat_config(const Value& model_config, const Value& generation_config,
                  const std::vector<std::string>& side_files);

}  // namespace swage::mlc
