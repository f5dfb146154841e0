#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/nearest.cc"
#include <hwy/foreach_target.h>
//
#include <limits>

#include "quant/nearest.h"
#include "quant/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace swage::HWY_NAMESPACE {

constexpr int64_t kPoints = quant::kTilePoints, kMost = quant::kMostCoordinates;

void NearestEntries(const quant::VectorTable<float>& table, const float* x, int32_t* index,
                    float* cost) {
  const F32 f;
  const I32 n;
  const int64_t lanes = hn::Lanes(f);
  for (int64_t p = 0; p < kPoints; p += lanes) {
    auto least = hn::Set(f, std::numeric_limits<float>::infinity());
    auto best = hn::Zero(n);
    for (int64_t e = 0; e < table.count; ++e) {
      const float* entry = table.entries + e * table.k;
      auto sum = hn::Zero(f);
      for (int64_t i = 0; i < table.k; ++i) {
        const auto difference = hn::Sub(hn::LoadU(f, x + i * kPoints + p), hn::Set(f, entry[i]));
        sum = hn::Add(sum, hn::Mul(difference, difference));
      }
      const auto less = hn::Lt(sum, least);
      least = hn::IfThenElse(less, sum, least);
      best = hn::IfThenElse(hn::RebindMask(n, less), hn::Set(n, static_cast<int32_t>(e)), best);
    }
    hn::StoreU(best, n, index + p);
    if (cost) hn::StoreU(least, f, cost + p);
  }
}

void NearestPatterns(const quant::SignedPatterns& patterns, const float* x, int32_t* index) {
  const F32 f;
  const I32 n;
  const int64_t lanes = hn::Lanes(f);
  HWY_ALIGN float products[kMost * 3 * 16];
  for (int64_t p = 0; p < kPoints; p += lanes) {
    auto least = hn::Set(f, std::numeric_limits<float>::infinity());
    auto best = hn::Zero(n);
    for (int shift = 0; shift < 2; ++shift) {
      auto norm = hn::Zero(f), negatives = hn::Zero(f);
      for (int64_t i = 0; i < kMost; ++i) {
        const auto y =
            hn::Add(hn::LoadU(f, x + i * kPoints + p), hn::Set(f, shift == 0 ? -0.25f : 0.25f));
        const auto minus = hn::IfThenElseZero(hn::Lt(y, hn::Zero(f)), hn::Set(f, -0.f));
        negatives = hn::Xor(negatives, minus);  // the sign bit counts modulo two
        const auto magnitude = hn::Abs(y);
        norm = hn::Add(norm, hn::Mul(magnitude, magnitude));
        for (int digit = 0; digit < 3; ++digit) {
          hn::StoreU(hn::Mul(magnitude, hn::Set(f, static_cast<float>(digit) + 0.5f)), f,
                     products + (i * 3 + digit) * lanes);
        }
      }
      const auto half = hn::Mul(norm, hn::Set(f, 0.5f));
      // All ones where a pattern with an even sum needs a repair, and its opposite.
      const auto odd = hn::BitCast(f, hn::ShiftRight<31>(hn::BitCast(n, negatives)));
      const auto even = hn::BitCast(f, hn::Not(hn::BitCast(n, odd)));
      for (int64_t e = 0; e < patterns.count; ++e) {
        const uint8_t* digits = patterns.digits[e];
        auto sum = hn::Zero(f), cheapest = hn::Set(f, std::numeric_limits<float>::infinity());
        for (int64_t i = 0; i < kMost; ++i) {
          const auto product = hn::LoadU(f, products + (i * 3 + digits[i]) * lanes);
          sum = hn::Add(sum, product);
          cheapest = hn::Min(cheapest, product);
        }
        const auto repair = hn::And(patterns.odd[e] ? even : odd, hn::Add(cheapest, cheapest));
        const auto cost =
            hn::Add(hn::Sub(hn::Add(half, hn::Set(f, patterns.half_norm[e])), sum), repair);
        const auto less = hn::Lt(cost, least);
        least = hn::IfThenElse(less, cost, least);
        best = hn::IfThenElse(hn::RebindMask(n, less),
                              hn::Set(n, static_cast<int32_t>(2 * e + shift)), best);
      }
    }
    hn::StoreU(best, n, index + p);
  }
}

}  // namespace swage::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swage {
HWY_EXPORT(NearestEntries);
HWY_EXPORT(NearestPatterns);

template <>
void quant::nearest_entries(const VectorTable<float>& table, const float* x, int32_t* index,
                            float* cost) {
  HWY_DYNAMIC_DISPATCH(NearestEntries)(table, x, index, cost);
}
template <>
void quant::nearest_patterns(const SignedPatterns& patterns, const float* x, int32_t* index) {
  HWY_DYNAMIC_DISPATCH(NearestPatterns)(patterns, x, index);
}
}  // namespace swage
#endif
