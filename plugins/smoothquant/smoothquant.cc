#include <ATen/ops/maximum.h>
#include <ATen/ops/where.h>

#include "swage/one_piece.h"
#include "swage/plugin.h"
#include "swage/transform/fold.h"

namespace {

using namespace swage;

constexpr double kLeast =
    1e-5;  // of a scale and of a column's largest weight, as in the paper's code

// Moves outliers of the activations into the weights: s = max|x|^alpha / max|w|^(1 - alpha) per
// channel, so that both quantize well (Xiao et al. 2022).
class SmoothQuant final : public Algorithm {
 public:
  explicit SmoothQuant(const Params& params)
      : alpha_(params.f64("alpha")), rows_too_(params.text("targets") == "all") {}

  Needs needs() const override {
    return Needs().absmax().whole_inputs().calibrate_on(Stream::kOriginal);
  }

  absl::Status subset_transform(SubsetContext& context) override {
    const Subset& subset = context.subset();
    if (subset.fold.kind == FoldTarget::Kind::kNone) return absl::OkStatus();
    if (subset.fold.kind == FoldTarget::Kind::kLinearRows && !rows_too_) return absl::OkStatus();
    const at::Tensor activation = transform::tie_channels(subset.fold, context.stats().absmax);
    const at::Tensor weight = transform::tie_channels(subset.fold, largest_weights(subset));
    const at::Tensor smooth = in_one_piece([&] {
      return (activation.pow(alpha_) / weight.clamp_min(kLeast).pow(1 - alpha_)).clamp_min(kLeast);
    });
    // Nothing is known about a channel that never was non-zero.
    return context.fold(at::where(activation.eq(0), 1.0, smooth));
  }

 private:
  static at::Tensor largest_weights(const Subset& subset) {
    at::Tensor largest;
    for (const std::vector<Linear*>* readers : {&subset.linears, &subset.readers}) {
      for (const Linear* linear : *readers) {
        const at::Tensor columns = linear->weight.abs().amax(0).to(at::kFloat);
        largest = largest.defined() ? at::maximum(largest, columns) : columns;
      }
    }
    return largest;
  }

  const double alpha_;
  const bool rows_too_;
};

}  // namespace

SWAGE_ALGORITHM(SmoothQuant, "smoothquant");
