#include "swage/stats/accumulator.h"

#include <ATen/ops/amax.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>

#include "swage/product.h"
#include "swage/status.h"

namespace swage::stats {
namespace {

// Width of a row strip: narrow ones waste less of the lower half, wide ones keep the product fast.
constexpr int64_t kStrip = 128;

at::Tensor merged(const at::Tensor& sum, const at::Tensor& part,
                  at::Tensor (*merge)(const at::Tensor&, const at::Tensor&)) {
  return sum.defined() ? merge(sum, part) : part;
}

at::Tensor add_counts(const at::Tensor& a, const at::Tensor& b) { return a + b; }

}  // namespace

Accumulator::Accumulator(const Needs& needs, int64_t in, at::ScalarType compute, at::Device device)
    : needs_(needs) {
  const auto options = at::TensorOptions().dtype(compute).device(device);
  if (needs_.wants_hessian()) stats_.hessian = at::zeros({in, in}, options);
  if (needs_.wants_mean_abs()) stats_.mean_abs = at::zeros({in}, options);
  if (needs_.wants_square_sum()) stats_.square_sum = at::zeros({in}, options);
}

void Accumulator::add(const at::Tensor& x, const std::vector<int64_t>& lengths) {
  int64_t first = 0;
  for (const int64_t length : lengths) {
    const at::Tensor sequence = x.narrow(0, first, length);
    first += length;
    if (length == 0) continue;
    if (needs_.wants_hessian()) add_gram_upper(stats_.hessian, sequence);
    if (needs_.wants_absmax() || needs_.wants_mean_abs()) {
      const at::Tensor magnitude = sequence.abs();
      if (needs_.wants_absmax())
        stats_.absmax = merged(stats_.absmax, magnitude.amax(0), at::maximum);
      if (needs_.wants_mean_abs()) stats_.mean_abs += magnitude.sum(0);
    }
    if (needs_.wants_square_sum()) stats_.square_sum += sequence.square().sum(0);
    if (needs_.wants_range()) {
      const auto [least, greatest] = at::aminmax(sequence);
      stats_.minimum = merged(stats_.minimum, least.view({1}), at::minimum);
      stats_.maximum = merged(stats_.maximum, greatest.view({1}), at::maximum);
    }
    if (needs_.wants_histogram())
      stats_.histogram = merged(stats_.histogram, bf16_counts(sequence), add_counts);
    stats_.tokens += length;
  }
  SWAGE_CHECK(first == x.size(0));
}

SubsetStats Accumulator::finish() {
  if (needs_.wants_hessian()) mirror_upper(stats_.hessian);
  if (needs_.wants_mean_abs())
    stats_.mean_abs /= static_cast<double>(std::max<int64_t>(stats_.tokens, 1));
  for (at::Tensor* tensor :
       {&stats_.absmax, &stats_.mean_abs, &stats_.square_sum, &stats_.minimum, &stats_.maximum}) {
    if (tensor->defined()) *tensor = tensor->to(at::kFloat);
  }
  return std::exchange(stats_, {});
}

at::Tensor bf16_counts(const at::Tensor& x) {
  constexpr int64_t kCodes = 65536;
  const at::Tensor bits = x.to(at::kBFloat16).contiguous().view(at::kShort).flatten().to(at::kInt);
  return at::bincount(bits.bitwise_and(kCodes - 1), {}, kCodes);
}

void add_gram_upper(at::Tensor& hessian, const at::Tensor& x) {
  const int64_t in = hessian.size(0);
  // Both factors of a strip are then rows of one matrix, which products take without a copy.
  const at::Tensor columns = x.to(hessian.scalar_type()).t().contiguous();
  for (int64_t first = 0; first < in; first += kStrip) {
    const int64_t rows = std::min(kStrip, in - first);
    add_product(hessian.narrow(0, first, rows).narrow(1, first, in - first),
                columns.narrow(0, first, rows), columns.narrow(0, first, in - first).t());
  }
}

void mirror_upper(at::Tensor& hessian) {
  constexpr int64_t kTile = 64;
  const int64_t in = hessian.size(0), tiles = (in + kTile - 1) / kTile;
  at::parallel_for(0, tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t first = tile * kTile, rows = std::min(kTile, in - first);
      hessian.narrow(0, first, rows)
          .narrow(1, 0, first)
          .copy_(hessian.narrow(0, 0, first).narrow(1, first, rows).t());
      const at::Tensor corner = hessian.narrow(0, first, rows).narrow(1, first, rows);
      corner.copy_(corner.triu() + corner.triu(1).t());
    }
  });
}

}  // namespace swage::stats
