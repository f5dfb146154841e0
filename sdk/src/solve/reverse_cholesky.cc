#include "solve/reverse_cholesky.h"

#include <ATen/ops/triu.h>

#include "swage/product.h"

namespace swage::solve {
namespace {

constexpr int64_t kTile = 64;

// R of one tile, in place and from the last column backwards; entries below the diagonal are not
// read.
bool factor_tile(double* a, int64_t n) {
  for (int64_t j = n - 1; j >= 0; --j) {
    double pivot = a[j * n + j];
    for (int64_t k = j + 1; k < n; ++k) pivot -= a[j * n + k] * a[j * n + k];
    if (!(pivot > 0) || !std::isfinite(pivot)) return false;
    const double root = std::sqrt(pivot);
    a[j * n + j] = root;
    for (int64_t i = 0; i < j; ++i) {
      double sum = a[i * n + j];
      for (int64_t k = j + 1; k < n; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = sum / root;
    }
  }
  return true;
}

}  // namespace

void invert_tile(const double* r, int64_t n, double* inverse) {
  std::fill(inverse, inverse + n * n, 0.0);
  for (int64_t i = n - 1; i >= 0; --i) {
    double* row = inverse + i * n;
    row[i] = 1;
    for (int64_t k = i + 1; k < n; ++k) {
      const double factor = r[i * n + k];
      for (int64_t j = k; j < n; ++j) row[j] -= factor * inverse[k * n + j];
    }
    for (int64_t j = i; j < n; ++j) row[j] /= r[i * n + i];
  }
}

at::Tensor inverse_of_tile(const at::Tensor& r) {
  const at::Tensor tile = r.to(at::kCPU, at::kDouble).contiguous();
  at::Tensor inverse = at::empty_like(tile);
  invert_tile(tile.const_data_ptr<double>(), tile.size(0), inverse.mutable_data_ptr<double>());
  return inverse.to(r.options());
}

bool reverse_cholesky(at::Tensor& h) {
  const int64_t n = h.size(0);
  for (int64_t end = n; end > 0;) {
    const int64_t first = (end - 1) / kTile * kTile, width = end - first;
    at::Tensor panel = h.narrow(0, 0, end).narrow(1, first, width);
    if (end < n) {
      const at::Tensor done = h.narrow(0, 0, end).narrow(1, end, n - end);
      add_product(panel, done, done.narrow(0, first, width).t(), -1);
    }
    at::Tensor tile = panel.narrow(0, first, width).to(at::kCPU, at::kDouble).contiguous();
    if (!factor_tile(tile.mutable_data_ptr<double>(), width)) return false;
    if (first > 0) {
      at::Tensor above = panel.narrow(0, 0, first);
      above.copy_(product(above, inverse_of_tile(tile).to(h.options()).t()));
    }
    panel.narrow(0, first, width).copy_(tile.triu());
    h.narrow(0, first, width).narrow(1, 0, first).zero_();
    end = first;
  }
  return true;
}

}  // namespace swage::solve
