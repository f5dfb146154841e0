#include "swage/quant/static_range.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "swage/quant/search.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

// A value and how often it occurred, in ascending order of values.
struct Counted {
  std::vector<float> values;
  std::vector<double> counts;
};

Counted counted(const at::Tensor& histogram, bool magnitudes) {
  const int64_t* counts = histogram.const_data_ptr<int64_t>();
  std::vector<std::pair<float, double>> all;
  for (int64_t bits = 0; bits < histogram.numel(); ++bits) {
    if (counts[bits] == 0) continue;
    const auto value =
        static_cast<float>(c10::BFloat16(static_cast<uint16_t>(bits), c10::BFloat16::from_bits()));
    all.emplace_back(magnitudes ? std::abs(value) : value, static_cast<double>(counts[bits]));
  }
  std::sort(all.begin(), all.end());
  Counted result;
  for (const auto& [value, count] : all) {
    result.values.push_back(value);
    result.counts.push_back(count);
  }
  return result;
}

// The least value that `share` of all do not exceed.
float quantile(const Counted& all, double share) {
  double total = 0, seen = 0;
  for (const double count : all.counts) total += count;
  for (size_t i = 0; i < all.values.size(); ++i) {
    seen += all.counts[i];
    if (seen >= share * total) return all.values[i];
  }
  return all.values.back();
}

Ends by_percentile(const Codec& codec, const Ends& ends, const at::Tensor& histogram,
                   double percent) {
  if (is_symmetric(codec)) {
    const float limit = quantile(counted(histogram, true), percent / 100);
    return {std::max(ends.low, -limit), std::min(ends.high, limit)};
  }
  const Counted all = counted(histogram, false);
  const double tail = (1 - percent / 100) / 2;
  return {std::max(ends.low, quantile(all, tail)), std::min(ends.high, quantile(all, 1 - tail))};
}

Ends by_error(const Codec& codec, const Ends& ends, const at::Tensor& histogram) {
  const Counted all = counted(histogram, false);
  const at::Tensor values = at::tensor(at::ArrayRef<float>(all.values)).unsqueeze(0);
  const at::Tensor counts = at::tensor(at::ArrayRef<double>(all.counts), at::kDouble);
  Ends best = ends;
  double least = std::numeric_limits<double>::infinity();
  for (int step = 0; step < 80; ++step) {
    const float shrink = 1 - static_cast<float>(step) / 100;
    const Ends trial = {ends.low * shrink, ends.high * shrink};
    const at::Tensor error =
        codec.quantize_input(values, codec.input_levels(trial.low, trial.high)) - values;
    const double cost = (error.to(at::kDouble).square() * counts).sum().item<double>();
    if (!(cost < least)) continue;
    least = cost;
    best = trial;
  }
  return best;
}

// Of what is in the first `count` bins, with all beyond in the last one, from what is left where
// each run of bins with one value in `coarse_values` has become one.
double divergence(const std::vector<double>& bins, int count, const float* coarse_values) {
  std::vector<double> kept(bins.begin(), bins.begin() + count);
  for (size_t i = static_cast<size_t>(count); i < bins.size(); ++i) kept.back() += bins[i];
  double total = 0, sum = 0, divergence = 0;
  std::vector<double> coarse(static_cast<size_t>(count));
  for (int first = 0, last = 0; first < count; first = last) {
    while (last < count && coarse_values[last] == coarse_values[first]) ++last;
    double held = 0, filled = 0;
    for (int i = first; i < last; ++i) {
      held += bins[static_cast<size_t>(i)];
      filled += kept[static_cast<size_t>(i)] > 0 ? 1 : 0;
    }
    for (int i = first; i < last; ++i) {
      const auto at = static_cast<size_t>(i);
      if (kept[at] > 0 && filled > 0) coarse[at] = held / filled;
      sum += coarse[at];
      total += kept[at];
    }
  }
  for (size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] <= 0) continue;
    if (coarse[i] <= 0) return std::numeric_limits<double>::infinity();
    divergence += kept[i] / total * std::log(kept[i] / total / (coarse[i] / sum));
  }
  return divergence;
}

Ends by_divergence(const Codec& codec, const Ends& ends, const at::Tensor& histogram) {
  constexpr int kBins = 2048, kStep = 16;
  const Counted all = counted(histogram, true);
  const float greatest = std::max(std::abs(ends.low), std::abs(ends.high));
  if (!(greatest > 0)) return ends;
  std::vector<double> bins(kBins);
  for (size_t i = 0; i < all.values.size(); ++i) {
    const auto bin = static_cast<int>(all.values[i] / greatest * kBins);
    bins[static_cast<size_t>(std::min(bin, kBins - 1))] += all.counts[i];
  }
  // The format itself says which bins it tells apart.
  const float width = greatest / kBins;
  const at::Tensor centers = ((at::arange(kBins, at::kFloat) + 0.5) * width).unsqueeze(0);
  const int levels = 1 << (std::max(1, static_cast<int>(codec.code_bits())) - 1);
  int best = kBins;
  double least = std::numeric_limits<double>::infinity();
  for (int count = std::max(levels, kStep); count <= kBins; count += kStep) {
    const float end = width * static_cast<float>(count);
    const Parts range = codec.input_levels(std::max(ends.low, -end), std::min(ends.high, end));
    const at::Tensor coarse = codec.quantize_input(centers.narrow(1, 0, count), range).contiguous();
    const double found = divergence(bins, count, coarse.const_data_ptr<float>());
    if (!(found < least)) continue;
    least = found;
    best = count;
  }
  const float limit = greatest * static_cast<float>(best) / kBins;
  return {std::max(ends.low, -limit), std::min(ends.high, limit)};
}

}  // namespace

Ends static_range(const Codec& codec, float minimum, float maximum, const at::Tensor& histogram) {
  const Value keys(codec.scheme().keys);
  const std::string rule = keys.str("static_range", "minmax");
  Ends ends{minimum, maximum};
  SWAGE_CHECK(rule == "minmax" || histogram.defined());
  if (rule == "percentile")
    ends = by_percentile(codec, ends, histogram, keys.f64("percentile", 99.99));
  if (rule == "mse") ends = by_error(codec, ends, histogram);
  if (rule == "histogram") ends = by_divergence(codec, ends, histogram);
  const auto headroom = static_cast<float>(keys.f64("headroom", 1));
  return {ends.low * headroom, ends.high * headroom};
}

}  // namespace swage::quant
