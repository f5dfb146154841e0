#pragma once
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "swage/exporter.h"

// Experts of mixtures, which readers stack and run as one.
namespace swage::compressed_tensors {

// "model.layers.3.mlp.experts" of "model.layers.3.mlp.experts.17.up_proj"; "" of all else.
std::string experts_of(const std::string& linear);

// InvalidArgument: a layer's experts that no reader takes. Remarks: those that some reader refuses,
// misreads or computes otherwise than they were measured.
absl::Status check_experts(const std::vector<LinearSummary>& planned);

}  // namespace swage::compressed_tensors
