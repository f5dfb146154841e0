#pragma once
#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "swage/quant/scalar_codec.h"

namespace swage::quant {

// Levels as they are stored, of every group of a weight: fp32, or fp64 where the weight is.
struct Levels {
  at::Tensor scales, zeros;  // [row groups, groups]
  at::Tensor outer;          // as outer_scales() gave them, or undefined
};

// What the levels of a scalar format need to know of it.
class LevelAccess {
 public:
  explicit LevelAccess(const ScalarCodec& codec) : codec_(codec) {}
  template <class T>
  Level<T> level(T low, T high, const LevelStorage& storage) const {
    return codec_.level(low, high, storage);
  }
  template <class T>
  Level<T> level_below(T stored, const LevelStorage& storage) const {
    const Level<double> below = codec_.level_below(stored, storage);
    return {T(below.scale), T(below.zero), T(below.stored)};
  }
  at::Tensor outer_scales(const at::Tensor& low, const at::Tensor& high,
                          at::ScalarType open) const {
    return codec_.outer_scales(low, high, open);
  }
  const ScalarLayout& layout() const { return codec_.layout(); }
  const ScalarTable& table() const { return codec_.table(); }
  const Scheme& scheme() const { return codec_.scheme(); }
  bool shares() const { return codec_.wants_fused(); }
  double search_start() const { return codec_.search_start(); }
  at::ScalarType scale_type(at::ScalarType open) const { return codec_.scale_type(open); }
  at::ScalarType decoded_type(at::ScalarType scales) const;
  // May a scheme choose the dtype of scales?
  bool has_scale_dtype() const {
    return scheme().keys.count("scale_dtype") > 0 || scale_type(at::kFloat) == at::kFloat;
  }

 private:
  const ScalarCodec& codec_;
};

// The refusal of a row that holds a value which is not finite.
template <class T>
absl::Status not_finite(const T* x, int64_t row, int64_t columns);
// Groups cut the width, the weight is a matrix that is not empty.
absl::Status check_groups(const ScalarCodec& codec, int64_t columns);
absl::StatusOr<Levels> find_levels(const ScalarCodec& codec, const at::Tensor& weight,
                                   const FitRequest& request);

}  // namespace swage::quant
