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

}  // namespace swage::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swage {
HWY_EXPORT(RowRanges);
HWY_EXPORT(EncodeRow);
HWY_EXPORT(DecodeRow);

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

}  // namespace quant
}  // namespace swage
#endif
