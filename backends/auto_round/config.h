#pragma once
#include <string>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/store/gptq_linear.h"

namespace swage::auto_round {

// quantization_config: what most linears are, and in `extra_config`, by name, what others are.
Value make_config(const ExportContext& context);

struct StoredAs {
  store::GptqForm form;
  at::ScalarType scales = at::ScalarType::Undefined;  // where the block names their type
};
// How a linear that has a qweight is stored.
absl::StatusOr<StoredAs> read_config(const Value& block, const store::StoredModule& module);

}  // namespace swage::auto_round
