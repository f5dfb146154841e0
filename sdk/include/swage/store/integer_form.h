#pragma once
#include <memory>

#include "absl/status/statusor.h"
#include "swage/codec.h"
#include "swage/export.h"
#include "swage/exporter.h"

namespace swage::store {

// What files of packed integers know of an integer scheme: a scale, and a zero point where it is
// asymmetric, for every `group` columns of a row.
struct SWAGE_API IntegerForm {
  int bits = 4;
  int64_t group = 0;  // 0: the whole row
  bool symmetric = true;
  bool float_zeros = false;

  int64_t group_width(int64_t in) const { return group == 0 ? in : group; }
};

// InvalidArgument, why not: another format than "int", one scale for a tensor or for rectangles,
// scales of two levels.
SWAGE_API absl::StatusOr<IntegerForm> integer_form(const Codec& codec);
// The codec of such a form: what its parts are read by.
SWAGE_API absl::StatusOr<std::shared_ptr<const Codec>> integer_codec(const IntegerForm& form);

// The dtype of a planned linear's scales, where its format has scales in floats.
SWAGE_API at::ScalarType scale_type(const LinearSummary& linear);

// The same values in another dtype. InvalidArgument where that cannot hold one of them: which, and
// that `scale_dtype` would do.
SWAGE_API absl::StatusOr<at::Tensor> cast_exactly(const at::Tensor& values, at::ScalarType type);

// A dtype as config.json spells it, "bfloat16", and back; Undefined where it is none of floats.
SWAGE_API const char* dtype_name(at::ScalarType type);
SWAGE_API at::ScalarType dtype_named(const std::string& name);

}  // namespace swage::store
