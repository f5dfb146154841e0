#pragma once
#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/exporter.h"
#include "swage/result.h"
#include "swage/store/integer_form.h"
#include "swage/store/stored_module.h"

// A linear [out, in] as AutoAWQ's "gemm" files hold it, and some of AutoRound's: `qweight` int32
// [in, out / 8] and `qzeros` int32 [groups, out / 8] in the layout of awq_layout.h, `scales` fp16
// [groups, out].
namespace swage::store {

// InvalidArgument: why files cannot hold this compressed linear, and what would do.
SWAGE_API absl::Status awq_fits(const LinearSummary& linear);

SWAGE_API absl::Status write_awq(const Result& linear, TensorSink& sink);
// `scales`: the type they get, whatever the file has; Undefined: the file's. Zero points of a
// symmetric form that are not the middle make an asymmetric result.
SWAGE_API absl::StatusOr<Result> read_awq(const StoredModule& module, const IntegerForm& form,
                                          at::ScalarType scales);

}  // namespace swage::store
