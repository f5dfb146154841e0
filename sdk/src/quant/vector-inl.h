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

#include <limits>
#include <type_traits>

#include "quant/kernels.h"

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

// What rounds to the values of a table: Near() gives the level nearest to scaled = x / s as a float
// and, on request, its code; Value() what the level counts, without its zero point; Of() the level
// of a code. Zero points belong to integers alone: `whole` and `rest` are their parts.
struct Integers {
  using Codes = I8;
  Vec low, high;
  explicit HWY_INLINE Integers(const quant::ScalarTable& table)
      : low(hn::Set(F32(), table.least())), high(hn::Set(F32(), table.greatest())) {}
  HWY_INLINE Vec Near(Vec scaled, Vec whole, Vec rest) const {
    return hn::Min(hn::Max(hn::Add(hn::Round(hn::Add(scaled, rest)), whole), low), high);
  }
  // Zero points without a part behind the point.
  HWY_INLINE Vec Near(Vec scaled, Vec whole) const {
    return hn::Min(hn::Max(hn::Add(hn::Round(scaled), whole), low), high);
  }
  HWY_INLINE hn::Vec<I32> Code(Vec level) const { return hn::ConvertTo(I32(), level); }
  HWY_INLINE Vec Value(Vec level, Vec zero) const { return hn::Sub(level, zero); }
  HWY_INLINE Vec Of(hn::Vec<I32> code) const { return hn::ConvertTo(F32(), code); }
};

// Floats of few bits. Adding 2^(exponent + 23 - mantissa bits) leaves no bit behind the last place.
struct Floats {
  using Codes = hn::Rebind<uint8_t, F32>;
  Vec greatest, least_normal, last_places;
  hn::Vec<I32> least_exponent, lift, base, sign, magnitude, normal;
  int shift;
  explicit HWY_INLINE Floats(const quant::ScalarTable& table) {
    const int mantissa = table.mantissa_bits(), exponent = 1 - table.bias();
    shift = 23 - mantissa;
    greatest = hn::Set(F32(), table.greatest());
    least_exponent = hn::Set(I32(), (exponent + 127) << 23);
    least_normal = hn::BitCast(F32(), least_exponent);
    last_places = hn::BitCast(F32(), hn::Set(I32(), (mantissa - exponent + 127) << 23));
    lift = hn::Set(I32(), shift << 23);
    base = hn::Set(I32(), (exponent + 126) << mantissa);
    sign = hn::Set(I32(), 1 << (table.bits() - 1));
    magnitude = hn::Set(I32(), (1 << (table.bits() - 1)) - 1);
    normal = hn::Set(I32(), 1 << mantissa);
  }
  HWY_INLINE Vec Near(Vec scaled, Vec, Vec) const { return Near(scaled, scaled); }
  HWY_INLINE Vec Near(Vec scaled, Vec) const {
    const auto size = hn::Min(hn::Abs(scaled), greatest);
    const auto exponent =
        hn::Max(hn::And(hn::BitCast(I32(), size), hn::Set(I32(), 0x7F800000)), least_exponent);
    const auto magic = hn::BitCast(F32(), hn::Add(exponent, lift));
    return hn::CopySign(hn::Sub(hn::Add(size, magic), magic), scaled);
  }
  HWY_INLINE hn::Vec<I32> Code(Vec level) const {
    const auto size = hn::Abs(level);
    const auto small = hn::ConvertTo(I32(), hn::Mul(size, last_places));
    const auto large = hn::Sub(hn::ShiftRightSame(hn::BitCast(I32(), size), shift), base);
    const auto code =
        hn::IfThenElse(hn::RebindMask(I32(), hn::Lt(size, least_normal)), small, large);
    const auto negative = hn::ShiftRight<31>(hn::BitCast(I32(), level));
    return hn::Or(code, hn::And(negative, sign));
  }
  HWY_INLINE Vec Value(Vec level, Vec) const { return level; }
  HWY_INLINE Vec Of(hn::Vec<I32> code) const {
    const auto size = hn::And(code, magnitude);
    const auto small = hn::Div(hn::ConvertTo(F32(), size), last_places);
    const auto large = hn::BitCast(F32(), hn::ShiftLeftSame(hn::Add(size, base), shift));
    const auto value = hn::IfThenElse(hn::RebindMask(F32(), hn::Lt(size, normal)), small, large);
    const auto minus = hn::Ne(hn::And(code, sign), hn::Zero(I32()));
    return hn::IfThenElse(hn::RebindMask(F32(), minus), hn::Neg(value), value);
  }
};

// At most sixteen values of any kind, ascending: halving finds the place, so that the sixteen edges
// cost four comparisons.
struct Values {
  using Codes = hn::Rebind<uint8_t, F32>;
  static constexpr int kCount = static_cast<int>(quant::kVectorValues);
  // edges[i] lies below values[i]; entries that are not there lie below nothing.
  HWY_ALIGN float values[kCount], edges[kCount];
  HWY_ALIGN int32_t codes[kCount];
  const float* by_code;
  explicit HWY_INLINE Values(const quant::ScalarTable& table) : by_code(table.values()) {
    const int count = static_cast<int>(table.sorted().size());
    for (int i = 0; i < kCount; ++i) {
      values[i] = i < count ? table.sorted()[i] : std::numeric_limits<float>::infinity();
      codes[i] = i < count ? table.codes()[i] : 0;
      edges[i] = i > 0 && i < count ? table.edges()[i - 1] : std::numeric_limits<float>::infinity();
    }
  }
  template <class D, class T>
  static HWY_INLINE hn::Vec<D> Pick(D d, const T* entries, hn::Vec<I32> index) {
    constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
    const auto picked = [&](const T* from, hn::Vec<I32> at) HWY_ATTR {
      return hn::TableLookupLanes(hn::Load(d, from), hn::IndicesFromVec(d, at));
    };
    if constexpr (kLanes == kCount) {
      return picked(entries, index);
    } else if constexpr (kLanes * 2 == kCount) {
      const auto half = hn::Set(I32(), kLanes);
      const auto within = hn::And(index, hn::Set(I32(), kLanes - 1));
      const auto low = hn::RebindMask(d, hn::Lt(index, half));
      return hn::IfThenElse(low, picked(entries, within), picked(entries + kLanes, within));
    } else {
      return hn::GatherIndex(d, entries, index);
    }
  }
  // The last of the entries behind the first that is passed; 0 where none is.
  template <class Passes>
  HWY_INLINE hn::Vec<I32> Place(const float* entries, const Passes& passes) const {
    auto place = hn::Zero(I32());
    for (int step = kCount / 2; step > 0; step /= 2) {
      const auto next = hn::Add(place, hn::Set(I32(), step));
      const auto here = hn::RebindMask(I32(), passes(Pick(F32(), entries, next)));
      place = hn::IfThenElse(here, next, place);
    }
    return place;
  }
  HWY_INLINE Vec Near(Vec scaled, Vec, Vec) const { return Near(scaled, scaled); }
  HWY_INLINE Vec Near(Vec scaled, Vec) const {
    const auto above = [&](Vec edge) HWY_ATTR { return hn::Gt(scaled, edge); };
    return Pick(F32(), values, Place(edges, above));
  }
  HWY_INLINE hn::Vec<I32> Code(Vec level) const {
    const auto reached = [&](Vec value) HWY_ATTR { return hn::Ge(level, value); };
    return Pick(I32(), codes, Place(values, reached));
  }
  HWY_INLINE Vec Value(Vec level, Vec) const { return level; }
  HWY_INLINE Vec Of(hn::Vec<I32> code) const { return hn::GatherIndex(F32(), by_code, code); }
};

// Calls visit with the pieces for the table.
template <class Visit>
HWY_INLINE void WithTable(const quant::ScalarTable& table, const Visit& visit) {
  switch (table.kind()) {
    case quant::ScalarTable::Kind::kIntegers:
      return visit(Integers(table));
    case quant::ScalarTable::Kind::kFloats:
      return visit(Floats(table));
    default:
      return visit(Values(table));
  }
}

// Calls visit with the storage dtype as a constant.
template <class Visit>
HWY_INLINE void WithStorage(c10::ScalarType storage, const Visit& visit) {
  using c10::ScalarType;
  switch (storage) {
    case ScalarType::BFloat16:
      return visit(std::integral_constant<ScalarType, ScalarType::BFloat16>());
    case ScalarType::Half:
      return visit(std::integral_constant<ScalarType, ScalarType::Half>());
    default:
      return visit(std::integral_constant<ScalarType, ScalarType::Float>());
  }
}

// The code of a level as bytes of the table's type.
template <class Table>
HWY_INLINE auto Bytes(const Table& table, Vec level) {
  return hn::DemoteTo(typename Table::Codes(), table.Code(level));
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
