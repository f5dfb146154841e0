#pragma once
#include <string>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/store/integer_form.h"
#include "swage/store/stored_module.h"

namespace swage::auto_round {

// Whose tensors hold the linears: GPTQ's, with zero points minus one (of symmetric weights) or as
// they are, or AutoAWQ's.
enum class Packing { kLessOne, kPlain, kAwq };

// quantization_config: what most linears are, and in `extra_config`, by name, what others are.
Value make_config(const ExportContext& context, Packing packing);

struct StoredAs {
  Packing packing = Packing::kLessOne;
  store::IntegerForm form;
  at::ScalarType scales = at::ScalarType::Undefined;  // where the block names their type
};
// How a linear that has a qweight is stored.
absl::StatusOr<StoredAs> read_config(const Value& block, const store::StoredModule& module);

}  // namespace swage::auto_round
