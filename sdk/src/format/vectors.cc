#include "format/vectors.h"

#include <ATen/ops/argmin.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>

#include "absl/strings/str_cat.h"

namespace swage::format {

absl::Status check_vectors(const std::string& format, const at::Tensor& weight, int64_t k) {
  if (weight.size(1) % k != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(format, " rounds ", k,
                     " columns at once, which does not divide the input width ", weight.size(1)));
  }
  const at::Tensor bad = at::isfinite(weight).logical_not();
  if (!bad.any().item<bool>()) return absl::OkStatus();
  const at::Tensor place = bad.cpu().nonzero().select(0, 0);
  const auto row = place[0].item<int64_t>(), column = place[1].item<int64_t>();
  return absl::InvalidArgumentError(absl::StrCat(
      "the weight holds ", std::isnan(weight[row][column].item<double>()) ? "NaN" : "infinity",
      " at row ", row, ", column ", column, "; only finite weights can be quantized"));
}

absl::Status check_stored(const std::string& what, const at::Tensor& levels, bool shared) {
  const at::Tensor bad = at::isfinite(levels).logical_not();
  if (!bad.any().item<bool>()) return absl::OkStatus();
  const auto first = bad.cpu().nonzero()[0][0].item<int64_t>();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " of ", shared ? "all rows" : absl::StrCat("row ", first),
                   " does not fit ", c10::toString(levels.scalar_type())));
}

at::Tensor by_portions(const at::Tensor& points,
                       const std::function<at::Tensor(const at::Tensor&)>& f) {
  constexpr int64_t kPortion = 16384;  // points: a matrix of their costs stays small
  std::vector<at::Tensor> portions;
  for (int64_t first = 0; first < points.size(0); first += kPortion)
    portions.push_back(f(points.narrow(0, first, std::min(kPortion, points.size(0) - first))));
  return at::cat(portions);
}

at::Tensor nearest_entries_plain(const at::Tensor& points, const at::Tensor& entries) {
  return by_portions(points, [&](const at::Tensor& some) {
    at::Tensor cost;
    for (int64_t i = 0; i < entries.size(1); ++i) {
      const at::Tensor square = (some.narrow(1, i, 1) - entries.select(1, i)).square();
      cost = cost.defined() ? cost + square : square;
    }
    return cost.argmin(1);
  });
}

}  // namespace swage::format
