#pragma once
#include <string>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/store/gptq_linear.h"

namespace swage::gptq {

// quantization_config: what most linears are, and a rule of `dynamic` for whatever is otherwise.
Value make_config(const ExportContext& context, bool second_format);

struct StoredAs {
  store::GptqForm form;
  bool scattered = false;                             // desc_act: groups are in g_idx alone
  at::ScalarType scales = at::ScalarType::Undefined;  // where the block names their type
};
// How a linear that has a qweight is stored. Spellings of AutoGPTQ, GPTQModel and AutoRound.
absl::StatusOr<StoredAs> read_config(const Value& block, const std::string& linear);

}  // namespace swage::gptq
