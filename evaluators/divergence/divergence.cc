// How far the compressed model's next-token distribution q is from the
// original's p: KL(p‖q) in nats at every position, and how often both prefer
// the same token.
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "swage/plugin.h"
#include "swage/stats/logits.h"
#include "swage/text/calibration.h"

namespace {

using namespace swage;

class Divergence final : public Evaluator {
 public:
  explicit Divergence(const Params& params) : request_(text::window_request(params)) {}

  absl::StatusOr<TokenSet> prepare(const EvaluationInput& input) override {
    return text::evaluation_sequences(request_, input);
  }

  absl::Status consume(const LogitsView& view) override {
    if (!view.original.defined() || !view.compressed.defined()) {
      return absl::FailedPreconditionError(
          "divergence compares two models, but nothing was compressed");
    }
    const stats::LogitsComparison compared = stats::compare_logits(view.original, view.compressed);
    for (int64_t row = 0; row < compared.divergence.size(0); ++row) {
      const double value = compared.divergence.const_data_ptr<double>()[row];
      if (!std::isfinite(value)) {
        return absl::DataLossError(
            absl::StrCat("original or compressed logits are not finite at sequence ", view.sequence,
                         ", token ", view.first + row));
      }
      values_.push_back(value);
      same_top_ += compared.same_top.const_data_ptr<bool>()[row] ? 1 : 0;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Metrics> report() override {
    if (values_.empty()) return absl::FailedPreconditionError("no position was compared");
    const auto count = static_cast<double>(values_.size());
    double sum = 0;
    for (double value : values_) sum += value;
    std::sort(values_.begin(), values_.end());
    Metrics metrics;
    metrics.compressed["kl_mean"] = sum / count;
    metrics.compressed["kl_p50"] = percentile(0.50);
    metrics.compressed["kl_p99"] = percentile(0.99);
    metrics.compressed["top1_agreement"] = static_cast<double>(same_top_) / count;
    return metrics;
  }

 private:
  // Nearest rank: the smallest value that at least this share of the positions
  // does not exceed.
  double percentile(double share) const {
    const double rank = std::ceil(share * static_cast<double>(values_.size()));
    return values_[static_cast<size_t>(std::max(rank, 1.0)) - 1];
  }

  text::WindowRequest request_;
  std::vector<double> values_;
  int64_t same_top_ = 0;
};

}  // namespace

SWAGE_EVALUATOR(Divergence, "divergence");
