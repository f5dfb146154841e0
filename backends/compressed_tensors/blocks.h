#pragma once
#include <vector>

#include "swage/exporter.h"

// What readers make of rectangles that share a scale.
namespace swage::compressed_tensors {

// Remarks: those that some reader refuses or serves with other inputs than were measured.
void remark_on_blocks(const std::vector<LinearSummary>& planned);

}  // namespace swage::compressed_tensors
