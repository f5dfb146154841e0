#include "swage/stats/column_errors.h"

// Compiled once for each instruction set; the order of these lines matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "stats/column_errors.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace swage::stats::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Doubles = hn::CappedTag<double, 8>;
using Floats = hn::Rebind<float, Doubles>;

// Sums of columns lie in memory, since a row of them is read as it lies; columns behind the last
// whole vector are added one by one, with the same operations.
ColumnErrors Errors(const float* floats, const float* result, int64_t rows, int64_t stride,
                    int64_t width) {
  const Doubles wide;
  const Floats narrow;
  const auto lanes = static_cast<int64_t>(hn::Lanes(wide));
  const int64_t whole = width / lanes * lanes;
  HWY_ALIGN double weights[kErrorColumns] = {}, differences[kErrorColumns] = {};
  HWY_ALIGN float left[kErrorColumns] = {};  // the largest magnitude
  for (int64_t row = 0; row < rows; ++row, floats += stride, result += stride) {
    for (int64_t c = 0; c < whole; c += lanes) {
      const auto value = hn::LoadU(narrow, result + c);
      const auto w = hn::PromoteTo(wide, hn::LoadU(narrow, floats + c));
      const auto apart = hn::Sub(w, hn::PromoteTo(wide, value));
      hn::Store(hn::Add(hn::Load(wide, weights + c), hn::Mul(w, w)), wide, weights + c);
      hn::Store(hn::Add(hn::Load(wide, differences + c), hn::Mul(apart, apart)), wide,
                differences + c);
      hn::Store(hn::Max(hn::Load(narrow, left + c), hn::Abs(value)), narrow, left + c);
    }
    for (int64_t c = whole; c < width; ++c) {
      const auto w = static_cast<double>(floats[c]), d = static_cast<double>(result[c]);
      weights[c] += w * w;
      differences[c] += (w - d) * (w - d);
      if (d != 0) left[c] = 1;
    }
  }
  ColumnErrors errors;
  for (int64_t c = 0; c < width; ++c) {
    errors.weight += weights[c];
    errors.difference += differences[c];
    errors.zeroed += weights[c] != 0 && left[c] == 0;
  }
  return errors;
}

}  // namespace swage::stats::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swage::stats {

HWY_EXPORT(Errors);

ColumnErrors column_errors(const float* floats, const float* result, int64_t rows, int64_t stride,
                           int64_t width) {
  return HWY_DYNAMIC_DISPATCH(Errors)(floats, result, rows, stride, width);
}

}  // namespace swage::stats
#endif  // HWY_ONCE
