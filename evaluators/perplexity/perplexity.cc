// Perplexity by the GPTQ protocol (Frantar et al. 2022): the text tokenized in
// one piece, windows that do not overlap, every window on its own, exp of the
// mean cross entropy over all predictions.
#include <ATen/ops/empty.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "swage/plugin.h"
#include "swage/stats/logits.h"
#include "swage/text/calibration.h"

namespace {

using namespace swage;

// Summed row by row, in order: the total does not depend on how the host cuts
// windows into pieces.
struct CrossEntropy {
  double nats = 0;
  int64_t tokens = 0;

  absl::Status add(const LogitsView& view, const at::Tensor& logits, const char* which) {
    const at::Tensor normalizers = stats::log_sum_exp(logits);
    const at::Tensor targets = view.targets.to(at::kCPU);
    const at::Tensor chosen =
        logits.gather(1, targets.clamp_min(0).to(logits.device()).unsqueeze(1))
            .to(at::kCPU, at::kDouble);
    for (int64_t row = 0; row < targets.size(0); ++row) {
      if (targets.const_data_ptr<int64_t>()[row] < 0) continue;
      const double loss =
          normalizers.const_data_ptr<double>()[row] - chosen.const_data_ptr<double>()[row];
      if (!std::isfinite(loss)) {
        return absl::DataLossError(
            absl::StrCat("the ", which, " model gives logits that are not finite at sequence ",
                         view.sequence, ", token ", view.first + row));
      }
      nats += loss;
      ++tokens;
    }
    return absl::OkStatus();
  }

  void report(std::map<std::string, double>& figures) const {
    if (tokens == 0) return;
    figures["perplexity"] = std::exp(nats / static_cast<double>(tokens));
    figures["tokens"] = static_cast<double>(tokens);
  }
};

class Perplexity final : public Evaluator {
 public:
  explicit Perplexity(const Params& params) : request_(text::window_request(params)) {}

  absl::StatusOr<TokenSet> prepare(const EvaluationInput& input) override {
    return text::evaluation_sequences(request_, input);
  }

  absl::Status consume(const LogitsView& view) override {
    if (view.original.defined())
      SWAGE_RETURN_IF_ERROR(original_.add(view, view.original, "original"));
    if (view.compressed.defined())
      SWAGE_RETURN_IF_ERROR(compressed_.add(view, view.compressed, "compressed"));
    return absl::OkStatus();
  }

  absl::StatusOr<Metrics> report() override {
    if (original_.tokens == 0 && compressed_.tokens == 0) {
      return absl::FailedPreconditionError(
          "no token was predicted: windows need at least two tokens");
    }
    Metrics metrics;
    original_.report(metrics.original);
    compressed_.report(metrics.compressed);
    return metrics;
  }

 private:
  text::WindowRequest request_;
  CrossEntropy original_, compressed_;
};

}  // namespace

SWAGE_EVALUATOR(Perplexity, "perplexity");
