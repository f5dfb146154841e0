#pragma once
#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/store/stored_module.h"

// LLM.int8: integers of 8 bits, and for each row the largest magnitude, 127 times the scale.
namespace swage::bitsandbytes {

inline constexpr char kSizes[] = "SCB";

// Scales of 16 bits come back as they were; of fp32 not every one does.
absl::Status fits_eight_bits(const LinearSummary& linear);
absl::Status write_eight_bits(const Result& linear, TensorSink& sink);
absl::StatusOr<Result> read_eight_bits(const store::StoredModule& module, const Value& config);

}  // namespace swage::bitsandbytes
