#pragma once
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "swage/export.h"
#include "swage/exporter.h"

// Linears that engines multiply as one matrix: query, key and value; gate and up. Told by the names
// that Hugging Face checkpoints give them.
namespace swage::store {

// Those of each such matrix, two at least, in the order of its rows.
SWAGE_API std::vector<std::vector<const LinearSummary*>> fused_members(
    const std::vector<LinearSummary>& linears);
// InvalidArgument: members with different schemes, or some of which are kept.
SWAGE_API absl::Status check_members_alike(const std::vector<LinearSummary>& planned);
// InvalidArgument: members whose scheme lets each have a scale of the tensor of its own. For
// formats with one scale for a tensor.
SWAGE_API absl::Status check_members_share(const std::vector<LinearSummary>& planned);
// InvalidArgument: members of which tensors `name.<part>` of one number were put, with different
// values.
SWAGE_API absl::Status check_members_equal(const ExportContext& context, const std::string& part);
// A remark where the experts of a layer have inputs with a static scale each.
SWAGE_API void remark_on_expert_inputs(const std::vector<LinearSummary>& planned);

}  // namespace swage::store
