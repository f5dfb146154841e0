// The vectorised kernels. Products and sums are never fused, so every instruction set gives the
// bits of the plain version.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/kernels.cc"
#include <hwy/foreach_target.h>
//
#include "quant/kernels.h"
#include "quant/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace swage::HWY_NAMESPACE {

bool RowRanges(const float* x, int64_t columns, int64_t width, float* low, float* high) {
  const F32 f;
  const int64_t lanes = hn::Lanes(f);
  auto poison = hn::Zero(f);  // 0 · x is NaN where x is not finite
  for (int64_t first = 0; first < columns; first += width) {
    const int64_t end = std::min(first + width, columns);
    auto least = hn::Set(f, x[first]), greatest = least;
    for (int64_t c = first; c < end; c += lanes) {
      const auto v = LoadSome(f, x + c, end - c, x[first]);
      least = hn::Min(least, v);
      greatest = hn::Max(greatest, v);
      poison = hn::Add(poison, hn::Mul(v, hn::Zero(f)));
    }
    *low++ = hn::GetLane(hn::MinOfLanes(f, least));
    *high++ = hn::GetLane(hn::MaxOfLanes(f, greatest));
  }
  return hn::GetLane(hn::SumOfLanes(f, poison)) == 0;
}

template <class Table>
HWY_INLINE void Encode(const Table& table, const float* x, int64_t columns,
                       const quant::RowGrid<float>& grid, uint8_t* codes) {
  const F32 f;
  const typename Table::Codes bytes;
  using Byte = hn::TFromD<typename Table::Codes>;
  const int64_t lanes = hn::Lanes(f);
  auto* out = reinterpret_cast<Byte*>(codes);
  for (int64_t first = 0, group = 0; first < columns; first += grid.width, ++group) {
    const int64_t end = std::min(first + grid.width, columns);
    const auto scale = hn::Set(f, grid.scales[group]);
    const auto zero = hn::Set(f, grid.zeros ? grid.zeros[group] : 0.f);
    const auto offset = hn::Set(f, grid.offsets ? grid.offsets[group] : 0.f);
    const auto whole = hn::Round(zero), rest = hn::Sub(zero, whole);
    for (int64_t c = first; c < end; c += lanes) {
      const auto v = hn::Sub(LoadSome(f, x + c, end - c, 0.f), offset);
      const auto level = table.Near(hn::Div(v, scale), whole, rest);
      StoreSome(Bytes(table, level), bytes, out + c, end - c);
    }
  }
}

void EncodeRow(const float* x, int64_t columns, const quant::RowGrid<float>& grid, uint8_t* codes) {
  WithTable(*grid.table,
            [&](const auto& table) HWY_ATTR { Encode(table, x, columns, grid, codes); });
}

template <c10::ScalarType kStorage, class Table>
HWY_INLINE void Decode(const Table& table, const uint8_t* codes, int64_t columns,
                       const quant::RowGrid<float>& grid, float* out) {
  const F32 f;
  const typename Table::Codes bytes;
  using Byte = hn::TFromD<typename Table::Codes>;
  const int64_t lanes = hn::Lanes(f);
  const auto* in = reinterpret_cast<const Byte*>(codes);
  for (int64_t first = 0, group = 0; first < columns; first += grid.width, ++group) {
    const int64_t end = std::min(first + grid.width, columns);
    const auto scale = hn::Set(f, grid.scales[group]);
    const auto zero = hn::Set(f, grid.zeros ? grid.zeros[group] : 0.f);
    const auto offset = hn::Set(f, grid.offsets ? grid.offsets[group] : 0.f);
    for (int64_t c = first; c < end; c += lanes) {
      const auto code = hn::PromoteTo(I32(), LoadSome(bytes, in + c, end - c, Byte{0}));
      auto value = hn::Mul(table.Value(table.Of(code), zero), scale);
      if (grid.offsets) value = hn::Add(value, offset);
      StoreSome(RoundToStorage<kStorage>(value), f, out + c, end - c);
    }
  }
}

void DecodeRow(const uint8_t* codes, int64_t columns, const quant::RowGrid<float>& grid,
               float* out) {
  WithTable(*grid.table, [&](const auto& table) HWY_ATTR {
    WithStorage(grid.storage, [&](auto storage) HWY_ATTR {
      Decode<decltype(storage)::value>(table, codes, columns, grid, out);
    });
  });
}

// e^2.4 for e >= 0: with x = e² it is x · x · (x^-1/5)⁴, the root from a guess in the exponent and
// two Newton steps, which need no division.
HWY_INLINE Vec Power(Vec e) {
  const F32 f;
  const auto x = hn::Mul(e, e);
  const auto bits = hn::ConvertTo(f, hn::BitCast(I32(), x));
  const auto guess = hn::Sub(hn::Set(f, 1278000000.f), hn::Mul(bits, hn::Set(f, 0.2f)));
  auto root = hn::BitCast(f, hn::ConvertTo(I32(), guess));
  auto fourth = root;
  for (int step = 0; step < 3; ++step) {
    const auto second = hn::Mul(root, root);
    fourth = hn::Mul(second, second);
    if (step == 2) break;
    // In this order nothing overflows for an error of zero.
    const auto fifth = hn::Mul(hn::Mul(hn::Mul(x, hn::Set(f, 0.2f)), fourth), root);
    root = hn::Mul(root, hn::Sub(hn::Set(f, 1.2f), fifth));
  }
  return hn::Mul(x, hn::Mul(x, fourth));
}

// Without offsets and with zero points that are whole numbers a step is two operations shorter,
// which searches feel.
template <class Visit>
HWY_INLINE void WithPlainZeros(bool plain, const Visit& visit) {
  if (plain) return visit(std::true_type());
  visit(std::false_type());
}

// Sixteen partial sums whatever the vector width, so that the order of summation is always the
// same. `cost` is called with the errors and their column. A function for each kind: calls are
// short, and their stack frames count.
template <c10::ScalarType kStorage, class Table, class CostOf>
HWY_NOINLINE float Cost(const Table& source, const float* x, int64_t columns,
                        const quant::RowGrid<float>& grid, const CostOf& cost) {
  const F32 f;
  const Table table = source;  // in registers: no store below can change it
  const int64_t lanes = hn::Lanes(f);
  HWY_ALIGN float sums[16] = {};
  for (int64_t first = 0, group = 0; first < columns; first += grid.width, ++group) {
    const int64_t end = std::min(first + grid.width, columns);
    const auto scale = hn::Set(f, grid.scales[group]);
    const auto zero = hn::Set(f, grid.zeros ? grid.zeros[group] : 0.f);
    const auto offset = hn::Set(f, grid.offsets ? grid.offsets[group] : 0.f);
    const auto whole = hn::Round(zero), rest = hn::Sub(zero, whole);
    const bool plain = grid.offsets == nullptr && hn::GetLane(rest) == 0;
    WithPlainZeros(plain, [&](auto is_plain) HWY_ATTR {
      constexpr bool kPlain = decltype(is_plain)::value;
      for (int64_t c = first; c < end; c += lanes) {
        const auto v = LoadSome(f, x + c, end - c, 0.f);
        Vec value;
        if constexpr (kPlain) {
          value = hn::Mul(table.Value(table.Near(hn::Div(v, scale), zero), zero), scale);
        } else {
          const auto level = table.Near(hn::Div(hn::Sub(v, offset), scale), whole, rest);
          value = hn::Add(hn::Mul(table.Value(level, zero), scale), offset);
        }
        auto error = hn::Sub(RoundToStorage<kStorage>(value), v);
        if (end - c < lanes) error = hn::IfThenElseZero(hn::FirstN(f, end - c), error);
        float* sum = sums + (c - first) % 16;
        hn::Store(hn::Add(hn::Load(f, sum), cost(error, c, end - c)), f, sum);
      }
    });
  }
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

float PowerCost(const float* x, int64_t columns, const quant::RowGrid<float>& grid) {
  float sum = 0;
  WithTable(*grid.table, [&](const auto& table) HWY_ATTR {
    WithStorage(grid.storage, [&](auto storage) HWY_ATTR {
      sum = Cost<decltype(storage)::value>(table, x, columns, grid,
                                           [](Vec error, int64_t, int64_t)
                                               HWY_ATTR { return Power(hn::Abs(error)); });
    });
  });
  return sum;
}

float WeightedCost(const float* x, const float* importance, int64_t columns,
                   const quant::RowGrid<float>& grid) {
  const F32 f;
  float sum = 0;
  WithTable(*grid.table, [&](const auto& table) HWY_ATTR {
    WithStorage(grid.storage, [&](auto storage) HWY_ATTR {
      sum = Cost<decltype(storage)::value>(
          table, x, columns, grid, [&](Vec error, int64_t c, int64_t count) HWY_ATTR {
            const auto square = hn::Mul(error, error);
            if (importance == nullptr) return square;
            return hn::Mul(LoadSome(f, importance + c, count, 0.f), square);
          });
    });
  });
  return sum;
}

}  // namespace swage::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swage {
HWY_EXPORT(RowRanges);
HWY_EXPORT(EncodeRow);
HWY_EXPORT(DecodeRow);
HWY_EXPORT(PowerCost);
HWY_EXPORT(WeightedCost);

namespace quant {

template <>
bool row_ranges(const float* x, int64_t columns, int64_t width, float* low, float* high) {
  return HWY_DYNAMIC_DISPATCH(RowRanges)(x, columns, width, low, high);
}

template <>
void encode_row(const float* x, int64_t columns, const RowGrid<float>& grid, uint8_t* codes) {
  if (!is_vector(*grid.table)) return plain::encode_row(x, columns, grid, codes);
  HWY_DYNAMIC_DISPATCH(EncodeRow)(x, columns, grid, codes);
}

template <>
void decode_row(const uint8_t* codes, int64_t columns, const RowGrid<float>& grid, float* out) {
  if (!is_vector(*grid.table)) return plain::decode_row(codes, columns, grid, out);
  HWY_DYNAMIC_DISPATCH(DecodeRow)(codes, columns, grid, out);
}

template <>
float power_cost(const float* x, int64_t columns, const RowGrid<float>& grid, float norm) {
  if (!is_vector(*grid.table) || norm != static_cast<float>(kSearchNorm))
    return plain::power_cost(x, columns, grid, norm);
  return HWY_DYNAMIC_DISPATCH(PowerCost)(x, columns, grid);
}

template <>
float weighted_cost(const float* x, const float* importance, int64_t columns,
                    const RowGrid<float>& grid) {
  if (!is_vector(*grid.table)) return plain::weighted_cost(x, importance, columns, grid);
  return HWY_DYNAMIC_DISPATCH(WeightedCost)(x, importance, columns, grid);
}

}  // namespace quant
}  // namespace swage
#endif
