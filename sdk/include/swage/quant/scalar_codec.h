#pragma once
#include <ATen/core/Tensor.h>

#include "swage/codec.h"
#include "swage/export.h"
#include "swage/quant/scalar_grid.h"

namespace swage::quant {

// Scale and zero point of one group. `stored` is the scale in the unit in which its part holds it:
// the same where there is one level of scales.
template <class T>
struct Level {
  T scale = 1, zero = 0, stored = 1;
};

// What a level is rounded to.
struct SWAGE_API LevelStorage {
  at::ScalarType scales = at::kFloat;  // dtype of the part "scales"
  double outer = 1;                    // of the group's outer scale

  // The nearest value of the dtype of scales; infinite beyond its range.
  float round(float scale) const;
  double round(double scale) const;
};

// How entries share levels, and what a scalar format stores of them.
struct SWAGE_API ScalarLayout {
  int64_t rows = 1;          // that share a level; 0: all
  int64_t columns = 0;       // that share a level; 0: all
  bool short_tail = false;   // the last group of a row may be shorter
  bool zeros = false;        // a zero point a level
  bool float_zeros = false;  // zero points are floats of the scales' dtype, else int8
  double code_bits = 8;      // of one code, without padding
  // Groups of a row under one outer scale; 0: there are no outer scales, -1: one for the tensor.
  int64_t outer_groups = 0;
};

// A format whose values are (table[code] - zero) · scale. What a subclass adds: its table, its
// layout, and the level of a range. Parts: "codes" (the table's type, [out, in]), "scales" and, by
// the layout, "zeros" (both [ceil(out / rows), ceil(in / columns)]), "outer_scales".
//
// Fits by `range`, which comes from FitRequest::range or else from the scheme's key: "minmax" takes
// each group's extremes, "mse" shrinks both ends by 1.00, 0.99 … 0.21 (from search_start()) and
// keeps the least Σ|error|^mse_norm, "weighted" the least Σ importance · error² (Σ error² without
// importance).
class SWAGE_API ScalarCodec : public Codec {
 public:
  const ScalarTable& table() const { return *table_; }
  const ScalarLayout& layout() const { return layout_; }

  // What the ends of a range make of a group, for searches over limits.
  Level<float> level_of(float low, float high, const LevelStorage& storage) const {
    return level(low, high, storage);
  }
  Level<double> level_of(double low, double high, const LevelStorage& storage) const {
    return level(low, high, storage);
  }
  // Dtype of the part "scales".
  at::ScalarType scale_type(at::ScalarType open) const { return do_scale_type(open); }
  // The one outer scale of values in [low, high].
  double outer_of(double low, double high) const;
  // Are ranges the same on both sides of zero? Else zero lies in them, or any range will do.
  bool symmetric() const { return !layout_.zeros; }
  // The slope of a level's scale over each end of its range, divided by the scale: of scales that
  // are linear in them. For training; [groups] in, [groups] out.
  virtual void scale_slopes(const at::Tensor& low, const at::Tensor& high, at::Tensor* of_low,
                            at::Tensor* of_high) const;

 protected:
  ScalarCodec(ScalarTable::Pointer table, const ScalarLayout& layout);

  // The level of the values in [low, high], its scale rounded to storage. A scale that does not fit
  // is not finite.
  virtual Level<float> level(float low, float high, const LevelStorage& storage) const = 0;
  virtual Level<double> level(double low, double high, const LevelStorage& storage) const = 0;
  // The dtype in which scales are stored; `open` is FitRequest::scale_dtype.
  virtual at::ScalarType do_scale_type(at::ScalarType open) const { return open; }
  // Outer scales, as they are stored, of the groups' ranges (fp32 or fp64, [rows, groups]).
  virtual at::Tensor outer_scales(const at::Tensor& low, const at::Tensor& high,
                                  at::ScalarType open) const;
  // Bits of one scale as it is stored.
  virtual int64_t scale_bits(at::ScalarType stored) const;
  // Searches begin at this multiple of the range (1: the range itself).
  virtual double search_start() const { return 1; }
  // Where a scale has few stored values: the level with the next smaller one, of scale 0 below the
  // least. Searches then walk over them. NaN: there are too many, steps of the range are tried.
  virtual Level<double> level_below(double stored, const LevelStorage& storage) const;
  // The effective scales of stored ones, fp32 (fp64 for fp64 scales).
  virtual at::Tensor effective_scales(const Parts& levels) const;

  std::string do_form() const override;
  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override;
  Parts do_encode(const at::Tensor& weight, Parts levels) const override;
  at::Tensor do_decode(const Parts& parts, int64_t out, int64_t in) const override;
  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override;
  double do_code_bits() const override { return layout_.code_bits; }
  int64_t do_level_bits(const Parts& parts) const override;
  int64_t do_planned_level_bits(int64_t out, int64_t in, at::ScalarType dtype) const override;
  int64_t do_column_multiple() const override;
  int64_t do_group_width(int64_t in) const override;
  bool do_takes_limits() const override { return layout_.rows == 1 && layout_.outer_groups == 0; }
  bool do_shares_tokens() const override;
  bool do_wants_fused() const override;
  at::ScalarType do_decoded_type(const Parts& parts) const override;
  at::Tensor do_quantize_input(const at::Tensor& x, const Parts& fixed) const override;
  Parts do_input_levels(float low, float high) const override;
  absl::StatusOr<ScalarGrid> do_grid(const Parts& levels, int64_t out, int64_t in) const override;

 private:
  friend class LevelAccess;

  const ScalarTable::Pointer table_;
  const ScalarLayout layout_;
};

}  // namespace swage::quant
