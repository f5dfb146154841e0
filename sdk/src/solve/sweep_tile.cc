#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solve/sweep_tile.cc"
#include <hwy/foreach_target.h>
//
#include "quant/vector-inl.h"
#include "solve/sweep_tile.h"

HWY_BEFORE_NAMESPACE();
namespace swage::HWY_NAMESPACE {

// Vectors of one column that are kept in registers while the columns before it are added.
constexpr int kWide = 4;

template <c10::ScalarType kStorage, int kVectors>
HWY_INLINE void SweepRows(const solve::SweepTile<float>& t, int64_t row) {
  const F32 f;
  const I8 i8;
  const int64_t lanes = hn::Lanes(f);
  const auto low = hn::Set(f, t.low), high = hn::Set(f, t.high);
  for (int64_t c = 0; c < t.columns; ++c) {
    const float* factor = t.factor + c * t.columns;
    Vec carry[kVectors];
    for (int v = 0; v < kVectors; ++v)
      carry[v] = hn::LoadU(f, t.carry + c * t.stride + row + v * lanes);
    for (int64_t k = 0; k < c; ++k) {
      const auto share = hn::Set(f, factor[k]);
      const float* error = t.weight + k * t.stride + row;
      for (int v = 0; v < kVectors; ++v) {
        carry[v] = hn::Add(carry[v], hn::Mul(hn::LoadU(f, error + v * lanes), share));
      }
    }
    const auto pivot = hn::Set(f, factor[c]);
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = row + v * lanes;
      float* weight = t.weight + c * t.stride + at;
      const auto scale = hn::LoadU(f, t.scales + t.group[c] * t.stride + at);
      const auto zero = hn::LoadU(f, t.zeros + t.group[c] * t.stride + at);
      const auto original = hn::LoadU(f, weight);
      const auto compensated = hn::Add(original, hn::Div(carry[v], pivot));
      const auto level = Levels(compensated, scale, zero, low, high);
      const auto value = RoundToStorage<kStorage>(hn::Mul(hn::Sub(level, zero), scale));
      hn::StoreU(hn::DemoteTo(i8, hn::ConvertTo(I32(), level)), i8,
                 reinterpret_cast<int8_t*>(t.codes) + c * t.stride + at);
      const auto step = hn::Mul(hn::Sub(compensated, value), pivot);
      hn::StoreU(hn::Add(hn::LoadU(f, t.loss + at), hn::Mul(step, step)), f, t.loss + at);
      hn::StoreU(hn::Sub(original, value), f, weight);
    }
  }
}

template <c10::ScalarType kStorage>
HWY_INLINE void SweepAs(const solve::SweepTile<float>& t) {
  const int64_t lanes = hn::Lanes(F32());
  int64_t row = 0;
  for (; row + kWide * lanes <= t.rows; row += kWide * lanes) SweepRows<kStorage, kWide>(t, row);
  for (; row < t.rows; row += lanes) SweepRows<kStorage, 1>(t, row);
}

void Sweep(const solve::SweepTile<float>& t) {
  switch (t.storage) {
    case c10::ScalarType::BFloat16:
      return SweepAs<c10::ScalarType::BFloat16>(t);
    case c10::ScalarType::Half:
      return SweepAs<c10::ScalarType::Half>(t);
    default:
      return SweepAs<c10::ScalarType::Float>(t);
  }
}

}  // namespace swage::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swage {
HWY_EXPORT(Sweep);

void solve::sweep_tile(const SweepTile<float>& tile) {
  if (tile.format != NumberFormat::kInt) return sweep_tile_plain(tile);
  HWY_DYNAMIC_DISPATCH(Sweep)(tile);
}
}  // namespace swage
#endif
