#pragma once
#include <vector>

#include "absl/status/status.h"
#include "core/engine/export_writer.h"

namespace swage {

struct RunSetup;

// A head that is tied to the embedding stays so when a step compresses that one: both ends then
// are one matrix, made by steps that see weights alone. Not where the head is given something else
// (another step or scheme, keep = true), inputs are quantized, or a step changes the ends of the
// model. Sets RunSetup::tied_head, and takes the head out of what is planned.
absl::Status keep_tied(RunSetup& setup);

// What the export is asked to hold: readers that know no tie of compressed ends get the matrix
// twice. The error: this model knows no head of its own.
absl::StatusOr<std::vector<LinearSummary>> planned_for(RunSetup& setup, const ExportWriter& writer,
                                                       std::vector<LinearSummary> planned);
// The same of what has become of the linears.
void add_own_head(const RunSetup& setup, const ExportWriter& writer,
                  std::vector<LinearSummary>* linears);

}  // namespace swage
