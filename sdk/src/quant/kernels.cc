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

void EncodeRow(const float* x, int64_t columns, const quant::RowGrid<float>& grid, uint8_t* codes) {
  const F32 f;
  const I8 i8;
  const int64_t lanes = hn::Lanes(f);
  const auto low = hn::Set(f, grid.low), high = hn::Set(f, grid.high);
  auto* out = reinterpret_cast<int8_t*>(codes);
  for (int64_t first = 0, group = 0; first < columns; first += grid.width, ++group) {
    const int64_t end = std::min(first + grid.width, columns);
    const auto scale = hn::Set(f, grid.scales[group]);
    const auto zero = hn::Set(f, grid.zeros ? grid.zeros[group] : 0.f);
    for (int64_t c = first; c < end; c += lanes) {
      const auto level = Levels(LoadSome(f, x + c, end - c, 0.f), scale, zero, low, high);
      StoreSome(hn::DemoteTo(i8, hn::ConvertTo(I32(), level)), i8, out + c, end - c);
    }
  }
}

template <c10::ScalarType kStorage>
HWY_INLINE void Decode(const int8_t* codes, int64_t columns, const quant::RowGrid<float>& grid,
                       float* out) {
  const F32 f;
  const I8 i8;
  const int64_t lanes = hn::Lanes(f);
  for (int64_t first = 0, group = 0; first < columns; first += grid.width, ++group) {
    const int64_t end = std::min(first + grid.width, columns);
    const auto scale = hn::Set(f, grid.scales[group]);
    const auto zero = hn::Set(f, grid.zeros ? grid.zeros[group] : 0.f);
    for (int64_t c = first; c < end; c += lanes) {
      const auto code = hn::PromoteTo(I32(), LoadSome(i8, codes + c, end - c, int8_t{0}));
      const auto value = hn::Mul(hn::Sub(hn::ConvertTo(f, code), zero), scale);
      StoreSome(RoundToStorage<kStorage>(value), f, out + c, end - c);
    }
  }
}

void DecodeRow(const uint8_t* codes, int64_t columns, const quant::RowGrid<float>& grid,
               float* out) {
  const auto* in = reinterpret_cast<const int8_t*>(codes);
  switch (grid.storage) {
    case c10::ScalarType::BFloat16:
      return Decode<c10::ScalarType::BFloat16>(in, columns, grid, out);
    case c10::ScalarType::Half:
      return Decode<c10::ScalarType::Half>(in, columns, grid, out);
    default:
      return Decode<c10::ScalarType::Float>(in, columns, grid, out);
  }
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

// Sixteen partial sums whatever the vector width, so that the order of summation is always the
// same.
template <c10::ScalarType kStorage>
HWY_INLINE float Cost(const float* x, int64_t columns, const quant::RowGrid<float>& grid) {
  const F32 f;
  const int64_t lanes = hn::Lanes(f);
  HWY_ALIGN float sums[16] = {};
  const auto low = hn::Set(f, grid.low), high = hn::Set(f, grid.high);
  for (int64_t first = 0, group = 0; first < columns; first += grid.width, ++group) {
    const int64_t end = std::min(first + grid.width, columns);
    const auto scale = hn::Set(f, grid.scales[group]);
    const auto zero = hn::Set(f, grid.zeros ? grid.zeros[group] : 0.f);
    for (int64_t c = first; c < end; c += lanes) {
      const auto v = LoadSome(f, x + c, end - c, 0.f);
      const auto level = hn::Sub(Levels(v, scale, zero, low, high), zero);
      const auto error = hn::Abs(hn::Sub(RoundToStorage<kStorage>(hn::Mul(level, scale)), v));
      float* sum = sums + (c - first) % 16;
      hn::Store(hn::Add(hn::Load(f, sum), Power(error)), f, sum);
    }
  }
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

float RoundingCost(const float* x, int64_t columns, const quant::RowGrid<float>& grid) {
  switch (grid.storage) {
    case c10::ScalarType::BFloat16:
      return Cost<c10::ScalarType::BFloat16>(x, columns, grid);
    case c10::ScalarType::Half:
      return Cost<c10::ScalarType::Half>(x, columns, grid);
    default:
      return Cost<c10::ScalarType::Float>(x, columns, grid);
  }
}

}  // namespace swage::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swage {
HWY_EXPORT(RowRanges);
HWY_EXPORT(EncodeRow);
HWY_EXPORT(DecodeRow);
HWY_EXPORT(RoundingCost);

namespace quant {

template <>
bool row_ranges(const float* x, int64_t columns, int64_t width, float* low, float* high) {
  return HWY_DYNAMIC_DISPATCH(RowRanges)(x, columns, width, low, high);
}

template <>
void encode_row(const float* x, int64_t columns, const RowGrid<float>& grid, uint8_t* codes) {
  if (grid.format != NumberFormat::kInt) return plain::encode_row(x, columns, grid, codes);
  HWY_DYNAMIC_DISPATCH(EncodeRow)(x, columns, grid, codes);
}

template <>
void decode_row(const uint8_t* codes, int64_t columns, const RowGrid<float>& grid, float* out) {
  if (grid.format != NumberFormat::kInt) return plain::decode_row(codes, columns, grid, out);
  HWY_DYNAMIC_DISPATCH(DecodeRow)(codes, columns, grid, out);
}

template <>
float rounding_cost(const float* x, int64_t columns, const RowGrid<float>& grid) {
  if (grid.format != NumberFormat::kInt) return plain::rounding_cost(x, columns, grid);
  return HWY_DYNAMIC_DISPATCH(RoundingCost)(x, columns, grid);
}

}  // namespace quant
}  // namespace swage
#endif
