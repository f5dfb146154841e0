#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "solve/sweep_tile.cc"
#include <hwy/foreach_target.h>
//
#include "quant/kernels.h"
#include "quant/vector-inl.h"
#include "solve/sweep_tile.h"

HWY_BEFORE_NAMESPACE();
namespace swage::HWY_NAMESPACE {

// Vectors of one column that are kept in registers while the columns before it are added.
constexpr int kWide = 4;

template <c10::ScalarType kStorage, int kVectors, bool kPlainZeros, class Table>
HWY_INLINE void SweepRows(const Table& table, const solve::SweepTile<float>& t, int64_t row) {
  const F32 f;
  const typename Table::Codes bytes;
  using Byte = hn::TFromD<typename Table::Codes>;
  const int64_t lanes = hn::Lanes(f);
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
      const int64_t group = t.group[c] * t.stride + at;
      const auto scale = hn::LoadU(f, t.scales + group);
      const auto zero = hn::LoadU(f, t.zeros + group);
      auto original = hn::LoadU(f, weight);
      if (t.cross) {
        for (int64_t k = 0; k < c; ++k) {
          const auto aimed = hn::LoadU(f, t.targets + k * t.stride + at);
          original = hn::Add(original, hn::Mul(aimed, hn::Set(f, t.cross[c * t.columns + k])));
        }
      }
      const auto compensated = hn::Add(original, hn::Div(carry[v], pivot));
      if (t.targets) hn::StoreU(compensated, f, t.targets + c * t.stride + at);
      Vec level, value;
      if constexpr (kPlainZeros) {
        level = table.Near(hn::Div(compensated, scale), zero);
        value = hn::Mul(table.Value(level, zero), scale);
      } else {
        const auto offset = hn::LoadU(f, t.offsets + group);
        const auto whole = hn::Round(zero);
        level =
            table.Near(hn::Div(hn::Sub(compensated, offset), scale), whole, hn::Sub(zero, whole));
        value = hn::Add(hn::Mul(table.Value(level, zero), scale), offset);
      }
      value = RoundToStorage<kStorage>(value);
      hn::StoreU(Bytes(table, level), bytes, reinterpret_cast<Byte*>(t.codes) + c * t.stride + at);
      if (t.keep) {
        const hn::Rebind<uint8_t, F32> u8;
        const auto keep = hn::PromoteTo(I32(), hn::LoadU(u8, t.keep + c * t.stride + at));
        value = hn::IfThenElseZero(hn::RebindMask(f, hn::Ne(keep, hn::Zero(I32()))), value);
      }
      const auto step = hn::Mul(hn::Sub(compensated, value), pivot);
      hn::StoreU(hn::Add(hn::LoadU(f, t.loss + at), hn::Mul(step, step)), f, t.loss + at);
      hn::StoreU(hn::Sub(original, value), f, weight);
    }
  }
}

template <c10::ScalarType kStorage, bool kPlainZeros, class Table>
HWY_INLINE void SweepAs(const Table& table, const solve::SweepTile<float>& t) {
  const int64_t lanes = hn::Lanes(F32());
  int64_t row = 0;
  for (; row + kWide * lanes <= t.rows; row += kWide * lanes)
    SweepRows<kStorage, kWide, kPlainZeros>(table, t, row);
  for (; row < t.rows; row += lanes) SweepRows<kStorage, 1, kPlainZeros>(table, t, row);
}

void Sweep(const solve::SweepTile<float>& t) {
  WithTable(*t.table, [&](const auto& table) HWY_ATTR {
    WithStorage(t.storage, [&](auto storage) HWY_ATTR {
      if (t.offsets == nullptr)
        SweepAs<decltype(storage)::value, true>(table, t);
      else
        SweepAs<decltype(storage)::value, false>(table, t);
    });
  });
}

}  // namespace swage::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swage {
HWY_EXPORT(Sweep);

void solve::sweep_tile(const SweepTile<float>& tile) {
  if (!quant::is_vector(*tile.table)) return sweep_tile_plain(tile);
  HWY_DYNAMIC_DISPATCH(Sweep)(tile);
}
}  // namespace swage
#endif
