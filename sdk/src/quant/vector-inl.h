// Vector pieces shared by the kernels; included once per instruction set (no include guard but
// Highway's own).
#if defined(SWAGE_QUANT_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SWAGE_QUANT_VECTOR_INL_H_
#undef SWAGE_QUANT_VECTOR_INL_H_
#else
#define SWAGE_QUANT_VECTOR_INL_H_
#endif

#include <c10/core/ScalarType.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace swage::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::CappedTag<float, 16>;
using I32 = hn::RebindToSigned<F32>;
using U32 = hn::RebindToUnsigned<F32>;
using I8 = hn::Rebind<int8_t, F32>;
using Vec = hn::Vec<F32>;

// Nearest value of a storage dtype, ties to even. Subnormals of fp16 are multiples of the last
// place of 0.5.
template <c10::ScalarType kStorage>
HWY_INLINE Vec RoundToStorage(Vec v) {
  const F32 f;
  const U32 u;
  if constexpr (kStorage == c10::ScalarType::BFloat16) {
    const auto bits = hn::BitCast(u, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u, 1));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(u, 0x7FFF)));
    return hn::BitCast(f, hn::And(rounded, hn::Set(u, 0xFFFF0000u)));
  } else if constexpr (kStorage == c10::ScalarType::Half) {
    const auto magnitude = hn::Abs(v);
    const auto bits = hn::BitCast(u, magnitude);
    const auto odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(u, 1));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(u, 0xFFF)));
    const auto normal = hn::BitCast(f, hn::And(rounded, hn::Set(u, 0xFFFFE000u)));
    const auto half = hn::Set(f, 0.5f);
    const auto tiny = hn::Sub(hn::Add(magnitude, half), half);
    const auto near = hn::IfThenElse(hn::Lt(magnitude, hn::Set(f, 6.103515625e-05f)), tiny, normal);
    const auto infinite = hn::BitCast(f, hn::Set(u, 0x7F800000u));
    return hn::CopySign(hn::IfThenElse(hn::Gt(near, hn::Set(f, 65504.f)), infinite, near), v);
  } else {
    return v;
  }
}

// round(x / s) + z within [low, high]: integer codes, still as floats.
HWY_INLINE Vec Levels(Vec x, Vec scale, Vec zero, Vec low, Vec high) {
  return hn::Min(hn::Max(hn::Add(hn::Round(hn::Div(x, scale)), zero), low), high);
}

// Calls visit(load, store, offset) over [0, count): the rest that fills no vector goes through a
// padded buffer, so that there is one arithmetic for all entries.
template <class T, class D>
HWY_INLINE hn::Vec<D> LoadSome(D d, const T* from, size_t count, T padding) {
  if (count >= hn::Lanes(d)) return hn::LoadU(d, from);
  HWY_ALIGN T buffer[16];
  for (size_t i = 0; i < hn::Lanes(d); ++i) buffer[i] = i < count ? from[i] : padding;
  return hn::Load(d, buffer);
}

template <class T, class D>
HWY_INLINE void StoreSome(hn::Vec<D> v, D d, T* to, size_t count) {
  if (count >= hn::Lanes(d)) return hn::StoreU(v, d, to);
  HWY_ALIGN T buffer[16];
  hn::Store(v, d, buffer);
  for (size_t i = 0; i < count; ++i) to[i] = buffer[i];
}

}  // namespace swage::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
