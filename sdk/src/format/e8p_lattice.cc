#include <ATen/ops/arange.h>
#include <ATen/ops/argmin.h>
#include <ATen/ops/bitwise_left_shift.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "format/e8p.h"
#include "format/vectors.h"

namespace swage::format::e8p {
namespace {

constexpr int kBitOf[kColumns] = {0, 4, 1, 5, 2, 6, 3, 7};  // of a coordinate, in the low byte
constexpr int kFewNorm = 10 * 4;                            // of numerators, which are over two

// Numerators of the patterns of squared norm 12 that the code takes.
constexpr const char* kLarge[] = {
    "31113333", "13113333", "11313333", "11133333", "33313311", "33313131", "33311331", "33313113",
    "33311313", "33311133", "33133311", "33133131", "33131331", "33133113", "33131313", "33131133",
    "31333311", "31333131", "31331331", "31333113", "31331313", "13331133", "13333311", "13333131",
    "13331331", "13333113", "13331313", "11333133", "33113331"};

Patterns make_patterns() {
  Patterns result;
  int count = 0;
  const auto add = [&](const int* numerators) {
    int sum = 0, norm = 0;
    for (int i = 0; i < kColumns; ++i) {
      result.digits[count][i] = static_cast<uint8_t>(numerators[i] / 2);
      sum += numerators[i];
      norm += numerators[i] * numerators[i];
    }
    result.odd[count] = sum / 2 % 2 != 0;
    result.half_norm[count] = static_cast<float>(norm) / 8;
    ++count;
  };
  int numerators[kColumns];
  constexpr int kAll = 6561;  // 3^8
  for (int n = 0; n < kAll; ++n) {
    int norm = 0;
    for (int i = kColumns - 1, rest = n; i >= 0; --i, rest /= 3) {
      numerators[i] = 2 * (rest % 3) + 1;
      norm += numerators[i] * numerators[i];
    }
    if (norm <= kFewNorm) add(numerators);
  }
  for (const char* text : kLarge) {
    for (int i = 0; i < kColumns; ++i) numerators[i] = text[i] - '0';
    add(numerators);
  }
  return result;
}

// The index of the vector nearest to y among those of a pattern and a shift.
template <class T>
uint16_t index_of(const T* x, int64_t stride, int32_t found) {
  const int pattern = found >> 1, shift = found & 1;
  const Patterns& all = patterns();
  unsigned signs = 0;
  int cheapest = 0;
  T least = 0;
  bool odd = all.odd[pattern] != 0;
  for (int i = 0; i < kColumns; ++i) {
    const T y = x[i * stride] + (shift == 0 ? T(-0.25) : T(0.25));
    const T product = std::abs(y) * (T(all.digits[pattern][i]) + T(0.5));
    if (y < 0) signs |= 1u << kBitOf[i];
    odd ^= y < 0;
    if (i > 0 && !(product < least)) continue;
    least = product;
    cheapest = i;
  }
  if (odd) signs ^= 1u << kBitOf[cheapest];
  if (all.odd[pattern]) signs ^= 1u << kBitOf[kColumns - 1];
  return static_cast<uint16_t>(static_cast<unsigned>(pattern) << 8 |
                               (signs ^ static_cast<unsigned>(shift)));
}

template <class T>
at::Tensor nearest_as(const at::Tensor& matrix) {
  const at::Tensor y = matrix.contiguous();
  at::Tensor indices = at::empty({y.size(0), y.size(1) / kColumns}, y.options().dtype(at::kShort));
  auto* to = reinterpret_cast<uint16_t*>(indices.mutable_data_ptr<int16_t>());
  for_each_tile<T>(y, kColumns, [&](int64_t first, int64_t count, const T* x) {
    int32_t found[quant::kTilePoints];
    quant::nearest_patterns<T>(patterns().view(), x, found);
    for (int64_t p = 0; p < count; ++p)
      to[first + p] = index_of(x + p, quant::kTilePoints, found[p]);
  });
  return indices;
}

// Points [n, 8] whose patterns lie in `absolute` [256, 8].
struct PlainSearch {
  at::Tensor absolute, half_norm, odd;

  explicit PlainSearch(const at::TensorOptions& options) {
    const Patterns& all = patterns();
    std::vector<double> values, norms, sums;
    for (int e = 0; e < kPatterns; ++e) {
      for (int i = 0; i < kColumns; ++i) values.push_back(all.digits[e][i] + 0.5);
      norms.push_back(all.half_norm[e]);
      sums.push_back(all.odd[e]);
    }
    absolute = at::tensor(values, options).view({kPatterns, kColumns});
    half_norm = at::tensor(norms, options);
    odd = at::tensor(sums, options).to(at::kBool);
  }

  // Costs of all patterns [n, 256] of points that were moved by the shift.
  at::Tensor costs(const at::Tensor& y) const {
    const at::Tensor magnitude = y.abs();
    at::Tensor norm, sum, cheapest;
    for (int64_t i = 0; i < kColumns; ++i) {
      const at::Tensor one = magnitude.narrow(1, i, 1), product = one * absolute.select(1, i);
      norm = i > 0 ? norm + one * one : one * one;
      sum = i > 0 ? sum + product : product;
      cheapest = i > 0 ? cheapest.minimum(product) : product;
    }
    const at::Tensor repaired = y.lt(0).sum(1, true).remainder(2).to(at::kBool).ne(odd);
    return (norm * 0.5 + half_norm) - sum +
           at::where(repaired, cheapest + cheapest, at::zeros_like(cheapest));
  }

  at::Tensor indices(const at::Tensor& points) const {
    // All patterns at +¼ before those at -¼, as the kernels go.
    const at::Tensor found = at::cat({costs(points - 0.25), costs(points + 0.25)}, 1).argmin(1);
    const at::Tensor pattern = found.remainder(kPatterns), shift = found.div(kPatterns, "floor");
    const at::Tensor y = points + (shift.to(points.scalar_type()) * 0.5 - 0.25).unsqueeze(1);
    const at::Tensor product = y.abs() * absolute.index_select(0, pattern);
    const at::Tensor odd_pattern = odd.index_select(0, pattern);
    at::Tensor negative = y.lt(0);
    const at::Tensor repaired =
        negative.sum(1).remainder(2).to(at::kBool).ne(odd_pattern).unsqueeze(1);
    const at::Tensor places = at::arange(kColumns, found.options());
    negative = negative.ne(repaired.logical_and(places.eq(product.argmin(1, true))));
    const at::Tensor last = places.eq(kColumns - 1).logical_and(odd_pattern.unsqueeze(1));
    const at::Tensor bits = at::tensor(at::ArrayRef<int>(kBitOf, kColumns), found.options());
    const at::Tensor signs =
        at::bitwise_left_shift(negative.ne(last).to(at::kLong), bits).sum(1).bitwise_xor(shift);
    return (pattern * 256 + signs).to(at::kShort);
  }
};

at::Tensor make_vectors() {
  const Patterns& all = patterns();
  at::Tensor result = at::empty({kPatterns * 256, kColumns}, at::kFloat);
  float* to = result.mutable_data_ptr<float>();
  for (int index = 0; index < kPatterns * 256; ++index) {
    const int pattern = index >> 8;
    unsigned signs = index & 255;
    const bool down = __builtin_popcount(signs) % 2 != 0;
    signs ^= (down ? 1u : 0u) ^ (all.odd[pattern] ? 1u << kBitOf[kColumns - 1] : 0u);
    for (int i = 0; i < kColumns; ++i) {
      const float value = static_cast<float>(all.digits[pattern][i]) + 0.5f;
      *to++ = ((signs >> kBitOf[i] & 1) != 0 ? -value : value) + (down ? -0.25f : 0.25f);
    }
  }
  return result;
}

}  // namespace

const Patterns& patterns() {
  static const Patterns all = make_patterns();
  return all;
}

const at::Tensor& vectors() {
  static const auto* const all = new at::Tensor(make_vectors());
  return *all;
}

at::Tensor nearest(const at::Tensor& matrix) {
  if (!matrix.is_cpu()) return nearest_plain(matrix);
  return matrix.scalar_type() == at::kDouble ? nearest_as<double>(matrix)
                                             : nearest_as<float>(matrix);
}

at::Tensor nearest_plain(const at::Tensor& matrix) {
  const PlainSearch search(matrix.options());
  const at::Tensor indices =
      by_portions(matrix.contiguous().view({-1, kColumns}),
                  [&](const at::Tensor& some) { return search.indices(some); });
  return indices.view({matrix.size(0), -1});
}

}  // namespace swage::format::e8p
