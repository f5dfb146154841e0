#pragma once
#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/store/stored_module.h"

// The tensors of one linear in HQQ's form for safetensors: codes of groups of consecutive inputs
// (axis 1), scale and zero point of each in floats, and twenty words about them.
namespace swage::hqq {

// InvalidArgument: why HQQ has no place for such a linear, and what would do.
absl::Status fits(const LinearSummary& linear);
absl::Status write_linear(const Result& linear, TensorSink& sink);
// `note`: what quantization_config tells of a linear of Swage's own (note_of()). What no codec of
// ours holds comes as floats.
absl::StatusOr<Result> read_linear(const store::StoredModule& module, const Value& note);

// What a reader of HQQ need not know and a run's result has: {"symmetric": true}.
Value::Table note_of(const LinearSummary& linear);

}  // namespace swage::hqq
