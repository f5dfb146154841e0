// Multiplies the input channels of every subset by log-normal factors and divides the op in front
// by them: the function stays, but weights that were dequantized from a grid leave it, so that
// methods are compared on equal terms.
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include <cmath>

#include "swage/plugin.h"

namespace {

using namespace swage;

class Rescale final : public Algorithm {
 public:
  explicit Rescale(const Params& params) : sigma_(params.f64("sigma")), seed_(params.i64("seed")) {}

  absl::Status subset_transform(SubsetContext& subset) override {
    const FoldTarget& fold = subset.subset().fold;
    if (fold.kind == FoldTarget::Kind::kNone) {
      subset.note("not rescaled: " + subset.subset().name + ": " + fold.why_none);
      return absl::OkStatus();
    }
    const at::Tensor& weight = subset.subset().linears.front()->weight;
    // Channels that share a row (grouped heads) take that row's factor.
    const bool by_rows = fold.kind == FoldTarget::Kind::kLinearRows;
    const at::Tensor rows =
        by_rows ? fold.row_of_channel.cpu() : at::arange(weight.size(1), at::kLong);
    at::Tensor factors = at::empty({weight.size(1)}, at::kDouble);
    for (int64_t i = 0; i < factors.size(0); ++i) {
      factors.data_ptr<double>()[i] =
          std::exp(sigma_ * normal(subset, rows.data_ptr<int64_t>()[i]));
    }
    return subset.fold(factors.to(weight.options()));
  }

 private:
  // Box-Muller: a standard normal number out of two uniform ones.
  double normal(const SubsetContext& subset, int64_t row) const {
    const auto uniform = [&](int64_t n) {
      return (static_cast<double>(subset.random((seed_ << 32) + n) >> 11) + 0.5) * 0x1p-53;
    };
    return std::sqrt(-2 * std::log(uniform(2 * row))) *
           std::cos(6.283185307179586 * uniform(2 * row + 1));
  }

  double sigma_;
  int64_t seed_;
};

}  // namespace

SWAGE_ALGORITHM(Rescale, "rescale");
