#include "nn/kernels.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <cstring>

// Compiled once for each instruction set; the order of these lines matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace swage::nn::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
T square_sum(const T* x, size_t count) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    const auto x0 = hn::LoadU(d, x + i), x1 = hn::LoadU(d, x + i + lanes);
    const auto x2 = hn::LoadU(d, x + i + 2 * lanes), x3 = hn::LoadU(d, x + i + 3 * lanes);
    sum0 = hn::MulAdd(x0, x0, sum0);
    sum1 = hn::MulAdd(x1, x1, sum1);
    sum2 = hn::MulAdd(x2, x2, sum2);
    sum3 = hn::MulAdd(x3, x3, sum3);
  }
  T rest = 0;
  for (; i < count; ++i) rest += x[i] * x[i];
  const auto sum = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
  return hn::GetLane(hn::SumOfLanes(d, sum)) + rest;
}

template <class T>
void rms_norm_rows(const T* x, const T* w, T* y, size_t rows, size_t columns, double eps,
                   double offset) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  const auto offsets = hn::Set(d, static_cast<T>(offset));
  for (size_t row = 0; row < rows; ++row, x += columns, y += columns) {
    const T mean = square_sum(x, columns) / static_cast<T>(columns);
    const T scale = T{1} / std::sqrt(mean + static_cast<T>(eps));
    const auto scales = hn::Set(d, scale);
    size_t i = 0;
    for (; i + lanes <= columns; i += lanes) {
      const auto weight = hn::Add(hn::LoadU(d, w + i), offsets);
      hn::StoreU(hn::Mul(weight, hn::Mul(hn::LoadU(d, x + i), scales)), d, y + i);
    }
    for (; i < columns; ++i) y[i] = (w[i] + static_cast<T>(offset)) * (x[i] * scale);
  }
}

template <class T, class V>
V gate_exponent(Gate kind, V x) {
  const hn::ScalableTag<T> d;
  if (kind == Gate::kSilu) return x;
  if (kind == Gate::kQuickGelu) return hn::Mul(hn::Set(d, static_cast<T>(1.702)), x);
  // 0.5 (1 + tanh(u)) = sigmoid(2 u)
  const auto linear = hn::Set(d, static_cast<T>(1.5957691216057308));
  const auto cubic = hn::Set(d, static_cast<T>(1.5957691216057308 * 0.044715));
  return hn::Mul(x, hn::MulAdd(hn::Mul(x, x), cubic, linear));
}

template <class T, class V>
V gate_value(Gate kind, V x) {
  const hn::ScalableTag<T> d;
  // Beyond e^88 the quotient is zero to the last digit that matters, and exp() would leave its
  // range.
  const auto power = hn::Min(hn::Neg(gate_exponent<T>(kind, x)), hn::Set(d, T{88}));
  return hn::Div(x, hn::Add(hn::Set(d, T{1}), hn::Exp(d, power)));
}

template <class T>
void gate_elements(Gate kind, T* x, const T* up, size_t count) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    auto value = gate_value<T>(kind, hn::LoadU(d, x + i));
    if (up != nullptr) value = hn::Mul(value, hn::LoadU(d, up + i));
    hn::StoreU(value, d, x + i);
  }
  if (i == count) return;
  // The tail takes the same vector path: an element's value must not depend on where it stands.
  HWY_ALIGN T rest[HWY_MAX_BYTES / sizeof(T)] = {};
  std::memcpy(rest, x + i, (count - i) * sizeof(T));
  hn::Store(gate_value<T>(kind, hn::Load(d, rest)), d, rest);
  for (size_t j = 0; i + j < count; ++j) x[i + j] = up != nullptr ? rest[j] * up[i + j] : rest[j];
}

template <class T>
void rotate_heads(T* x, const T* cos, const T* sin, size_t heads, size_t head_dim, size_t half) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t head = 0; head < heads; ++head, x += head_dim) {
    T* y = x + half;
    size_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, y + i);
      const auto c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
      hn::StoreU(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), d, x + i);
      hn::StoreU(hn::Add(hn::Mul(b, c), hn::Mul(a, s)), d, y + i);
    }
    for (; i < half; ++i) {
      const T a = x[i], b = y[i];
      x[i] = a * cos[i] - b * sin[i];
      y[i] = b * cos[i] + a * sin[i];
    }
  }
}

template <class T>
T row_max(const T* s, size_t count) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  auto largest = hn::Set(d, s[0]);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) largest = hn::Max(largest, hn::LoadU(d, s + i));
  T result = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; i < count; ++i) result = s[i] > result ? s[i] : result;
  return result;
}

template <class T>
T softmax_span(T* s, size_t first, size_t last, size_t count, T scale) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  const T max = row_max(s + first, last - first);
  const auto scales = hn::Set(d, scale), shift = hn::Set(d, -max * scale);
  auto sums = hn::Zero(d);
  size_t i = first;
  for (; i + lanes <= last; i += lanes) {
    const auto e = hn::Exp(d, hn::MulAdd(hn::LoadU(d, s + i), scales, shift));
    sums = hn::Add(sums, e);
    hn::StoreU(e, d, s + i);
  }
  T sum = hn::GetLane(hn::SumOfLanes(d, sums));
  if (i < last) {
    HWY_ALIGN T rest[HWY_MAX_BYTES / sizeof(T)] = {};
    std::memcpy(rest, s + i, (last - i) * sizeof(T));
    hn::Store(hn::Exp(d, hn::MulAdd(hn::Load(d, rest), scales, shift)), d, rest);
    for (size_t j = 0; i + j < last; ++j) sum += s[i + j] = rest[j];
  }
  std::fill(s, s + first, T{0});
  std::fill(s + last, s + count, T{0});
  return sum;
}

template <class U>
int64_t find_exponent(const U* bits, size_t count, U mask) {
  const hn::ScalableTag<U> d;
  const size_t lanes = hn::Lanes(d);
  const auto masks = hn::Set(d, mask);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    if (!hn::AllFalse(d, hn::Eq(hn::And(hn::LoadU(d, bits + i), masks), masks))) break;
  }
  for (; i < count; ++i) {
    if ((bits[i] & mask) == mask) return static_cast<int64_t>(i);
  }
  return -1;
}

// Dispatch tables hold plain functions, one for each element type.
void rms_norm_f32(const float* x, const float* w, float* y, size_t rows, size_t columns, double eps,
                  double offset) {
  rms_norm_rows(x, w, y, rows, columns, eps, offset);
}
void rms_norm_f64(const double* x, const double* w, double* y, size_t rows, size_t columns,
                  double eps, double offset) {
  rms_norm_rows(x, w, y, rows, columns, eps, offset);
}
void gate_f32(Gate kind, float* x, const float* up, size_t count) {
  gate_elements(kind, x, up, count);
}
void gate_f64(Gate kind, double* x, const double* up, size_t count) {
  gate_elements(kind, x, up, count);
}
void rotate_f32(float* x, const float* cos, const float* sin, size_t heads, size_t head_dim,
                size_t half) {
  rotate_heads(x, cos, sin, heads, head_dim, half);
}
void rotate_f64(double* x, const double* cos, const double* sin, size_t heads, size_t head_dim,
                size_t half) {
  rotate_heads(x, cos, sin, heads, head_dim, half);
}
float softmax_f32(float* s, size_t first, size_t last, size_t count, float scale) {
  return softmax_span(s, first, last, count, scale);
}
double softmax_f64(double* s, size_t first, size_t last, size_t count, double scale) {
  return softmax_span(s, first, last, count, scale);
}
int64_t find_u16(const uint16_t* bits, size_t count, uint16_t mask) {
  return find_exponent(bits, count, mask);
}
int64_t find_u32(const uint32_t* bits, size_t count, uint32_t mask) {
  return find_exponent(bits, count, mask);
}
int64_t find_u64(const uint64_t* bits, size_t count, uint64_t mask) {
  return find_exponent(bits, count, mask);
}

}  // namespace swage::nn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swage::nn::kernels {

HWY_EXPORT(rms_norm_f32);
HWY_EXPORT(rms_norm_f64);
HWY_EXPORT(gate_f32);
HWY_EXPORT(gate_f64);
HWY_EXPORT(rotate_f32);
HWY_EXPORT(rotate_f64);
HWY_EXPORT(softmax_f32);
HWY_EXPORT(softmax_f64);
HWY_EXPORT(find_u16);
HWY_EXPORT(find_u32);
HWY_EXPORT(find_u64);

template <>
void rms_norm<float>(const float* x, const float* w, float* y, size_t rows, size_t columns,
                     double eps, double offset) {
  HWY_DYNAMIC_DISPATCH(rms_norm_f32)(x, w, y, rows, columns, eps, offset);
}
template <>
void rms_norm<double>(const double* x, const double* w, double* y, size_t rows, size_t columns,
                      double eps, double offset) {
  HWY_DYNAMIC_DISPATCH(rms_norm_f64)(x, w, y, rows, columns, eps, offset);
}
template <>
void gate<float>(Gate kind, float* x, const float* up, size_t count) {
  HWY_DYNAMIC_DISPATCH(gate_f32)(kind, x, up, count);
}
template <>
void gate<double>(Gate kind, double* x, const double* up, size_t count) {
  HWY_DYNAMIC_DISPATCH(gate_f64)(kind, x, up, count);
}
template <>
void rotate<float>(float* x, const float* cos, const float* sin, size_t heads, size_t head_dim,
                   size_t half) {
  HWY_DYNAMIC_DISPATCH(rotate_f32)(x, cos, sin, heads, head_dim, half);
}
template <>
void rotate<double>(double* x, const double* cos, const double* sin, size_t heads, size_t head_dim,
                    size_t half) {
  HWY_DYNAMIC_DISPATCH(rotate_f64)(x, cos, sin, heads, head_dim, half);
}
template <>
float softmax_row<float>(float* s, size_t first, size_t last, size_t count, float scale) {
  return HWY_DYNAMIC_DISPATCH(softmax_f32)(s, first, last, count, scale);
}
template <>
double softmax_row<double>(double* s, size_t first, size_t last, size_t count, double scale) {
  return HWY_DYNAMIC_DISPATCH(softmax_f64)(s, first, last, count, scale);
}
template <>
int64_t find_not_finite<uint16_t>(const uint16_t* bits, size_t count, uint16_t mask) {
  return HWY_DYNAMIC_DISPATCH(find_u16)(bits, count, mask);
}
template <>
int64_t find_not_finite<uint32_t>(const uint32_t* bits, size_t count, uint32_t mask) {
  return HWY_DYNAMIC_DISPATCH(find_u32)(bits, count, mask);
}
template <>
int64_t find_not_finite<uint64_t>(const uint64_t* bits, size_t count, uint64_t mask) {
  return HWY_DYNAMIC_DISPATCH(find_u64)(bits, count, mask);
}

bool fusable(std::initializer_list<const at::Tensor*> tensors) {
  const at::ScalarType type = (*tensors.begin())->scalar_type();
  if (type != at::kFloat && type != at::kDouble) return false;
  for (const at::Tensor* tensor : tensors) {
    if (!tensor->device().is_cpu() || !tensor->is_contiguous() || tensor->scalar_type() != type)
      return false;
    if (c10::GradMode::is_enabled() && tensor->requires_grad()) return false;
  }
  return true;
}

}  // namespace swage::nn::kernels
#endif  // HWY_ONCE
