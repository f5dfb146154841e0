#include "stats/logits_kernels.h"

#include <cmath>
#include <limits>

// Compiled once for each instruction set; the order of these lines matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "stats/logits_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace swage::stats::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Halves = hn::Half<Floats>;
using Doubles = hn::Rebind<double, Halves>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Largest element; NaN where one is not finite.
float row_max(const float* x, size_t count) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const auto zero = hn::Zero(d);
  auto largest = hn::Set(d, std::numeric_limits<float>::lowest());
  auto taint = zero;  // x - x is 0 for finite numbers and NaN for others
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    largest = hn::Max(largest, v);
    taint = hn::Add(taint, hn::Sub(v, v));
  }
  float result = hn::GetLane(hn::MaxOfLanes(d, largest));
  float rest = hn::GetLane(hn::SumOfLanes(d, taint));
  for (; i < count; ++i) {
    result = x[i] > result ? x[i] : result;
    rest += x[i] - x[i];
  }
  return result + rest;
}

size_t first_index(const float* x, size_t count, float value) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const auto wanted = hn::Set(d, value);
  size_t i = 0;
  while (i + lanes <= count && hn::AllFalse(d, hn::Eq(hn::LoadU(d, x + i), wanted))) i += lanes;
  while (i < count && x[i] != value) ++i;
  return i;
}

// Adds the lanes of `v` to fp64 sums.
template <class V, class W>
void widen(V v, W& low, W& high) {
  const Doubles d;
  low = hn::Add(low, hn::PromoteTo(d, hn::LowerHalf(Halves(), v)));
#if HWY_TARGET != HWY_SCALAR  // a single lane has no upper half
  high = hn::Add(high, hn::PromoteTo(d, hn::UpperHalf(Halves(), v)));
#endif
}

// The last, partial vector: elements past the end become `fill`.
struct Tail {
  HWY_ALIGN float values[HWY_MAX_BYTES / sizeof(float)];
  Tail(const float* x, size_t count, float fill) {
    const size_t lanes = hn::Lanes(Floats());
    for (size_t i = 0; i < lanes; ++i) values[i] = i < count ? x[i] : fill;
  }
};

RowSum exp_sum_row(const float* x, size_t count) {
  RowSum row;
  row.max = row_max(x, count);
  if (!std::isfinite(row.max)) return {row.max, kNan};
  const Floats d;
  const Doubles wide;
  const size_t lanes = hn::Lanes(d);
  const auto max = hn::Set(d, row.max);
  auto low = hn::Zero(wide), high = low;
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    widen(hn::Exp(d, hn::Sub(hn::LoadU(d, x + i), max)), low, high);
  if (i < count) {
    const Tail tail(x + i, count - i, -std::numeric_limits<float>::infinity());
    widen(hn::Exp(d, hn::Sub(hn::Load(d, tail.values), max)), low, high);
  }
  row.sum = hn::GetLane(hn::SumOfLanes(wide, hn::Add(low, high)));
  return row;
}

// KL = Σ p (log p - log q) = Σ e_p (p' - q') / S_p - log S_p + log S_q, with p' and q' the logits
// below their maxima.
RowComparison compare_rows(const float* p, const float* q, size_t count) {
  const float p_max = row_max(p, count), q_max = row_max(q, count);
  if (!std::isfinite(p_max) || !std::isfinite(q_max)) return {kNan, false};
  const Floats d;
  const Doubles wide;
  const size_t lanes = hn::Lanes(d);
  const auto p_top = hn::Set(d, p_max), q_top = hn::Set(d, q_max);
  auto p_low = hn::Zero(wide), p_high = p_low, q_low = p_low, q_high = p_low, low = p_low,
       high = p_low;
  const auto add = [&](const float* p_at, const float* q_at) {
    const auto a = hn::LoadU(d, p_at), b = hn::LoadU(d, q_at);
    const auto e = hn::Exp(d, hn::Sub(a, p_top));
    widen(e, p_low, p_high);
    widen(hn::Exp(d, hn::Sub(b, q_top)), q_low, q_high);
    widen(hn::Mul(e, hn::Sub(a, b)), low, high);
  };
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) add(p + i, q + i);
  if (i < count) {
    // e^-1000 is 0, and 0 · (a - b) stays 0.
    const Tail p_tail(p + i, count - i, p_max - 1000), q_tail(q + i, count - i, q_max - 1000);
    add(p_tail.values, q_tail.values);
  }
  const double p_sum = hn::GetLane(hn::SumOfLanes(wide, hn::Add(p_low, p_high)));
  const double q_sum = hn::GetLane(hn::SumOfLanes(wide, hn::Add(q_low, q_high)));
  const double cross = hn::GetLane(hn::SumOfLanes(wide, hn::Add(low, high)));
  const double shift = static_cast<double>(q_max) - static_cast<double>(p_max);
  const double divergence = cross / p_sum + shift - std::log(p_sum) + std::log(q_sum);
  // Rounding can leave a tiny negative number where both rows are nearly equal.
  return {divergence > 0 ? divergence : 0.0,
          first_index(p, count, p_max) == first_index(q, count, q_max)};
}

}  // namespace swage::stats::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swage::stats::kernels {

HWY_EXPORT(exp_sum_row);
HWY_EXPORT(compare_rows);

RowSum exp_sum(const float* x, size_t count) { return HWY_DYNAMIC_DISPATCH(exp_sum_row)(x, count); }
RowComparison compare(const float* p, const float* q, size_t count) {
  return HWY_DYNAMIC_DISPATCH(compare_rows)(p, q, count);
}

}  // namespace swage::stats::kernels
#endif  // HWY_ONCE
