#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/exporter.h"
#include "swage/result.h"
#include "swage/store/integer_form.h"
#include "swage/store/stored_module.h"

// A linear [out, in] as GPTQ's files hold it, and AutoRound's: transposed. `qweight` int32
// [in · bits / 32, out] packs codes along the inputs, `qzeros` int32 [groups, out · bits / 32] zero
// points along the outputs, `scales` are [groups, out], `g_idx` int32 [in] names each input's
// group.
namespace swage::store {

struct GptqForm {
  IntegerForm integers;
  bool zeros_less_one = true;  // the first format stores zero points minus one, which has no zero
};

// InvalidArgument: why files cannot hold this compressed linear, and what would do.
SWAGE_API absl::Status gptq_fits(const LinearSummary& linear, const std::vector<int>& bits);

// One type for the scales of all compressed linears: a config has place for one.
SWAGE_API absl::Status one_scale_type(const std::vector<LinearSummary>& planned);

// Compressed linears that have one scheme.
struct IntegerSet {
  IntegerForm form;
  std::vector<std::string> linears;
};
// The set with the most linears first, which a config states for all; equal ones by their order.
SWAGE_API std::vector<IntegerSet> integer_sets(const std::vector<LinearSummary>& linears);

// Scales become fp16 where that holds them, and else stay what they are.
SWAGE_API absl::Status write_gptq(const Result& linear, bool zeros_less_one, bool with_groups,
                                  TensorSink& sink);
// `scales`: the type they get, whatever the file has; Undefined: the file's. Zero points of a
// symmetric form that are not the middle make an asymmetric result; groups of scattered inputs a
// dense one, in the type of the scales.
SWAGE_API absl::StatusOr<Result> read_gptq(const StoredModule& module, const GptqForm& form,
                                           at::ScalarType scales);

}  // namespace swage::store
