#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

#include "swage/one_piece.h"
#include "swage/plugin.h"
#include "swage/quant/quantizer.h"
#include "swage/quant/search.h"
#include "swage/transform/fold.h"

namespace {

using namespace swage;

constexpr double kLeast = 1e-4;  // of a scale, before it is normalised

enum class Formula { kActivation, kDuo };
enum class Clip { kOff, kSymmetric, kAsymmetric };

// Mean over rows of |w| as a share of the largest in its group.
at::Tensor relative_magnitude(const at::Tensor& weight, int64_t width) {
  const int64_t out = weight.size(0), in = weight.size(1);
  const at::Tensor padded = at::constant_pad_nd(weight.abs(), {0, (width - in % width) % width});
  const at::Tensor groups = padded.view({out, -1, width});
  const at::Tensor share = groups / groups.amax(2, true).clamp_min(1e-30);
  return share.mean(0).flatten().narrow(0, 0, in);
}

// Protects the channels that activations make important: a grid search over per-channel scales,
// then range limits per group (Lin et al. 2023). Both are left in the linears for later steps.
class Awq final : public Algorithm {
 public:
  explicit Awq(const Params& params)
      : grid_(params.i64("grid")),
        search_tokens_(params.i64("search_tokens")),
        formula_(params.choice<Formula>("formula", {"activations", "duo"})),
        clip_(params.choice<Clip>("clip", {"off", "symmetric", "asymmetric"})),
        clip_skip_(params.texts("clip_skip")) {}

  Needs needs() const override {
    return Needs()
        .hessian()
        .mean_abs()
        .sample(search_tokens_)
        .whole_inputs()
        .calibrate_on(Stream::kOriginal);
  }

  // Rounds at the end: scales are also folded into linears of earlier subsets.
  absl::Status block_transform(BlockContext& block) override {
    std::vector<Linear*> linears;
    SWAGE_RETURN_IF_ERROR(block.for_each_subset([&](SubsetContext& subset) {
      linears.insert(linears.end(), subset.linears().begin(), subset.linears().end());
      return subset_transform(subset);
    }));
    for (Linear* linear : linears) {
      SWAGE_ASSIGN_OR_RETURN(Result result, quant::quantize(*linear, block.target(*linear)));
      SWAGE_RETURN_IF_ERROR(block.emit(*linear, std::move(result)));
    }
    return absl::OkStatus();
  }

  absl::Status subset_transform(SubsetContext& subset) override {
    if (!subset.stats().mean_abs.isfinite().all().item<bool>()) {
      return absl::InvalidArgumentError("calibration gives activations that are not finite");
    }
    SWAGE_RETURN_IF_ERROR(search_scale(subset));
    return search_clip(subset);
  }

 private:
  absl::Status search_scale(SubsetContext& subset) const {
    const FoldTarget& fold = subset.subset().fold;
    if (fold.kind == FoldTarget::Kind::kNone) {
      subset.note(absl::StrCat(subset.subset().name, ": not scaled: ", fold.why_none));
      return absl::OkStatus();
    }
    const at::Tensor activation = transform::tie_channels(fold, subset.stats().mean_abs);
    const at::Tensor weight = transform::tie_channels(fold, mean_magnitude(subset));
    at::Tensor expected;
    if (subset.subset().inspect_module) expected = subset.inspect(subset.stats().sample);
    double least = std::numeric_limits<double>::infinity();
    at::Tensor best = at::ones_like(activation);
    for (int64_t n = 0; n < grid_; ++n) {
      const double ratio = static_cast<double>(n) / static_cast<double>(grid_);
      const at::Tensor scale = candidate(activation, weight, ratio);
      SWAGE_ASSIGN_OR_RETURN(const double loss, loss_of(subset, scale, expected));
      if (!(loss < least)) continue;  // a loss that is not a number never wins
      least = loss;
      best = scale;
    }
    return subset.fold(best);
  }

  at::Tensor mean_magnitude(SubsetContext& subset) const {
    at::Tensor sum = at::zeros_like(subset.stats().mean_abs);
    for (const Linear* linear : subset.linears()) {
      const int64_t width = subset.target(*linear).codec->group_width(linear->in());
      sum += relative_magnitude(linear->weight, width) * linear->out();
    }
    return sum;
  }

  // s = x^ratio, or x^ratio / w^(1 - ratio), with a geometric middle of its ends of 1.
  at::Tensor candidate(const at::Tensor& activation, const at::Tensor& weight, double ratio) const {
    at::Tensor scale = in_one_piece([&] { return activation.pow(ratio); });
    if (formula_ == Formula::kDuo)
      scale = scale / in_one_piece([&] { return weight.pow(1 - ratio); });
    const at::Tensor dead = activation.eq(0);
    if (dead.all().item<bool>()) return at::ones_like(activation);
    scale = scale.clamp_min(kLeast);
    const at::Tensor alive = scale.masked_select(dead.logical_not());
    scale = scale / (alive.max() * alive.min()).sqrt();
    return at::where(dead, 1.0, scale);  // nothing is known about a channel that is always zero
  }

  // Mean squared error of the outputs if the linears were scaled and rounded.
  static absl::StatusOr<double> loss_of(SubsetContext& subset, const at::Tensor& scale,
                                        const at::Tensor& expected) {
    std::vector<at::Tensor> rounded;
    double error = 0, outputs = 0;
    for (const Linear* linear : subset.linears()) {
      const Target target = subset.target(*linear);
      SWAGE_ASSIGN_OR_RETURN(at::Tensor weight,
                             quant::round_trip_scaled(linear->weight, scale, *target.codec,
                                                      target.request.scale_dtype));
      rounded.push_back(std::move(weight));
      if (expected.defined()) continue;
      error += quant::output_error(rounded.back() - linear->weight, subset.hessian());
      outputs += static_cast<double>(linear->out()) * static_cast<double>(subset.stats().tokens);
    }
    if (!expected.defined()) return error / outputs;
    const auto swap = [&] {
      for (size_t i = 0; i < rounded.size(); ++i) {
        std::swap(subset.linears()[i]->weight, rounded[i]);
      }
    };
    swap();
    const at::Tensor difference = subset.inspect(subset.stats().sample) - expected;
    swap();
    return quant::inner_product(difference, difference) / static_cast<double>(difference.numel());
  }

  absl::Status search_clip(SubsetContext& subset) const {
    if (clip_ == Clip::kOff) return absl::OkStatus();
    quant::LimitSearch search;
    search.symmetric = clip_ == Clip::kSymmetric;
    for (Linear* linear : subset.linears()) {
      const Target target = subset.target(*linear);
      if (!target.codec->takes_limits() || skips(*linear)) continue;
      SWAGE_ASSIGN_OR_RETURN(const quant::Limits limits,
                             quant::search_limits(linear->weight, subset.hessian(), *target.codec,
                                                  target.request.scale_dtype, search));
      linear->clip_low = limits.low;
      linear->clip_high = limits.high;
    }
    return absl::OkStatus();
  }

  bool skips(const Linear& linear) const {
    for (const std::string& part : clip_skip_) {
      if (linear.name.find(part) != std::string::npos) return true;
    }
    return false;
  }

  const int64_t grid_, search_tokens_;
  const Formula formula_;
  const Clip clip_;
  const std::vector<std::string> clip_skip_;
};

}  // namespace

SWAGE_ALGORITHM(Awq, "awq");
