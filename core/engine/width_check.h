#pragma once
#include <vector>

#include "absl/status/status.h"
#include "core/config/pipeline.h"
#include "swage/exporter.h"

namespace swage {

// Do the formats of all planned linears cut their input widths? The error lists every step, width
// and a few linears, and names groups that would do.
absl::Status check_widths(const Pipeline& pipeline, const std::vector<LinearSummary>& planned);

}  // namespace swage
