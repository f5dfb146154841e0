// Hadamard matrices of the widths that models have.
#include "transform/hadamard.h"

#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/ones.h>

#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "swage/status.h"
#include "swage/transform/rotate.h"

namespace swage::transform {
namespace {

bool is_prime(int64_t n) {
  if (n < 2) return false;
  for (int64_t d = 2; d * d <= n; ++d) {
    if (n % d == 0) return false;
  }
  return true;
}

// Quadratic characters of differences modulo a prime q: 0 on the diagonal, 1 where i - j is a
// square, else -1.
at::Tensor jacobsthal(int64_t q) {
  std::vector<double> character(static_cast<size_t>(q), -1.0);
  character[0] = 0;
  for (int64_t i = 1; i < q; ++i) character[static_cast<size_t>(i * i % q)] = 1;
  at::Tensor matrix = at::empty({q, q}, at::kDouble);
  auto at = matrix.accessor<double, 2>();
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t j = 0; j < q; ++j) at[i][j] = character[static_cast<size_t>((i - j + q) % q)];
  }
  return matrix;
}

// The conference matrix over the characters: bordered by ones, below by `sign`.
at::Tensor bordered(int64_t q, double sign) {
  at::Tensor c = at::zeros({q + 1, q + 1}, at::kDouble);
  c.slice(0, 0, 1).slice(1, 1).fill_(1);
  c.slice(0, 1).slice(1, 0, 1).fill_(sign);
  c.slice(0, 1).slice(1, 1).copy_(jacobsthal(q));
  return c;
}

// Paley 1933, both constructions, over primes.
std::optional<at::Tensor> paley(int64_t m) {
  if (m == 1) return at::ones({1, 1}, at::kDouble);
  if (m % 4 != 0) return std::nullopt;
  if (is_prime(m - 1) && (m - 1) % 4 == 3) return at::eye(m, at::kDouble) + bordered(m - 1, -1);
  const int64_t q = m / 2 - 1;
  if (!is_prime(q) || q % 4 != 1) return std::nullopt;
  const at::Tensor c = bordered(q, 1), one = at::eye(q + 1, at::kDouble);
  return at::cat({at::cat({c + one, c - one}, 1), at::cat({c - one, -c - one}, 1)}, 0);
}

double uniform(uint64_t bits) { return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53; }

at::Tensor gaussian(int64_t n, const std::function<uint64_t(uint64_t)>& random) {
  at::Tensor matrix = at::empty({n, n}, at::kDouble);
  double* values = matrix.mutable_data_ptr<double>();
  constexpr double kTurn = 6.283185307179586;
  for (int64_t i = 0; i < n * n; ++i) {
    const auto counter = static_cast<uint64_t>(2 * i);
    values[i] = std::sqrt(-2 * std::log(uniform(random(counter)))) *
                std::cos(kTurn * uniform(random(counter + 1)));
  }
  return matrix;
}

at::Tensor orthogonal(int64_t n, const std::function<uint64_t(uint64_t)>& random) {
  const auto [q, r] = at::linalg_qr(gaussian(n, random));
  return q * r.diagonal().sign();  // uniform over the orthogonal group
}

at::Tensor signs(int64_t n, const std::function<uint64_t(uint64_t)>& random) {
  at::Tensor result = at::empty({n}, at::kDouble);
  for (int64_t i = 0; i < n; ++i)
    result.mutable_data_ptr<double>()[i] = (random(static_cast<uint64_t>(i)) >> 63) != 0 ? 1 : -1;
  return result;
}

}  // namespace

std::optional<HadamardParts> hadamard_parts(int64_t n, int64_t widest_core) {
  int64_t odd = n;
  while (odd > 1 && odd % 2 == 0) odd /= 2;
  for (int64_t m = odd; m <= std::min(n, widest_core); m *= 2) {
    const std::optional<at::Tensor> core = paley(m);
    if (!core) continue;
    const at::Tensor rows = *core * core->slice(1, 0, 1);
    return HadamardParts{n / m, rows * rows.slice(0, 0, 1)};
  }
  return std::nullopt;
}

absl::StatusOr<at::Tensor> hadamard(int64_t n) {
  const std::optional<HadamardParts> parts = hadamard_parts(n, n);
  if (!parts) {
    return absl::NotFoundError(absl::StrCat("no Hadamard matrix of width ", n, " is known here"));
  }
  at::Tensor matrix = parts->core;
  for (int64_t runs = 1; runs < parts->runs; runs *= 2)
    matrix = at::cat({at::cat({matrix, matrix}, 1), at::cat({matrix, -matrix}, 1)}, 0);
  return matrix / std::sqrt(static_cast<double>(n));
}

at::Tensor random_rotation(int64_t n, Rotation kind, bool keeps_mean,
                           const std::function<uint64_t(uint64_t)>& random) {
  if (kind == Rotation::kHadamard) {
    const auto h = hadamard(n);
    if (h.ok() && !keeps_mean) return signs(n, random).unsqueeze(1) * *h;
    if (h.ok()) {
      // The constant vector is the first column: its sign stays.
      at::Tensor sign = signs(n, random);
      sign[0] = 1;
      return (*h * sign).matmul(h->t());
    }
  }
  if (!keeps_mean) return orthogonal(n, random);
  // A reflection that swaps the constant vector and the first axis, around a rotation of the other
  // axes.
  at::Tensor inner = at::eye(n, at::kDouble);
  inner.slice(0, 1).slice(1, 1).copy_(orthogonal(n - 1, random));
  at::Tensor v = at::ones({n}, at::kDouble) / std::sqrt(static_cast<double>(n));
  v[0] -= 1;
  if (n == 1) return inner;
  const at::Tensor reflection =
      at::eye(n, at::kDouble) - 2 * v.unsqueeze(1).matmul(v.unsqueeze(0)) / v.square().sum();
  return reflection.matmul(inner).matmul(reflection);
}

}  // namespace swage::transform
