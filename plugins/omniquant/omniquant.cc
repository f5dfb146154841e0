#include <ATen/ops/full_like.h>
#include <ATen/ops/logit.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/where.h>

#include <deque>

#include "swage/plugin.h"
#include "swage/quant/quantizer.h"
#include "swage/quant/search.h"
#include "swage/train/block_trainer.h"
#include "swage/train/fake_quantize.h"

namespace {

using namespace swage;

constexpr double kWide = 4;   // sigmoid: 0.982
constexpr double kFull = 40;  // sigmoid: exactly 1, rounding to nearest

enum class Start { kSearched, kWide };

bool can_learn(const WeightScheme& scheme) {
  return scheme.format == NumberFormat::kInt && scheme.granularity != Granularity::kTensor;
}

// Limits of one linear: shares of both ends of each group's range, as sigmoids of logits [out,
// groups]. A symmetric range has one, of its largest magnitude.
struct LearnedLimits {
  Linear* linear;
  WeightScheme scheme;
  at::ScalarType scale_dtype;
  train::Ends ends;
  std::vector<at::Tensor> logits;  // low, high; or both in one
  std::vector<at::Tensor> start;

  LearnedLimits(Linear& linear, const WeightScheme& scheme, at::ScalarType scale_dtype)
      : linear(&linear), scheme(scheme), scale_dtype(scale_dtype) {
    ends = train::group_ends(linear.weight, scheme);
    if (scheme.symmetric) {
      ends.high = at::maximum(ends.high, -ends.low);
      ends.low = -ends.high;
    }
    for (int i = 0; i < (scheme.symmetric ? 1 : 2); ++i) {
      start.push_back(at::full_like(ends.high, kWide));
      logits.push_back(at::full_like(ends.high, kFull));
    }
  }

  // An end that is zero has no share.
  void start_at(const quant::Limits& limits) {
    const auto logit = [](const at::Tensor& limit, const at::Tensor& end) {
      const at::Tensor share = at::where(end.eq(0), at::ones_like(end), limit / end);
      return at::logit(share.clamp(0.01, 1)).clamp_max(kWide);
    };
    start = {logit(limits.low, ends.low)};
    if (!scheme.symmetric) start.push_back(logit(limits.high, ends.high));
  }

  at::Tensor low() const { return at::sigmoid(logits.front()) * ends.low; }
  at::Tensor high() const { return at::sigmoid(logits.back()) * ends.high; }
};

// Learns how far each group's range may reach, against the outputs of the whole block (Shao et al.
// 2023, learned weight clipping), then rounds to nearest within these limits.
class OmniQuant final : public Algorithm {
 public:
  explicit OmniQuant(const Params& params)
      : start_(params.choice<Start>("start", {"searched", "wide"})) {
    schedule_.epochs = params.i64("epochs");
    schedule_.learning_rate = params.f64("learning_rate");
    schedule_.sequences_per_step = params.i64("batch");
  }

  Needs needs() const override {
    Needs needs = Needs().calibrate_on(Stream::kCompressed);
    return start_ == Start::kSearched ? needs.hessian() : needs;
  }

  absl::Status block_transform(BlockContext& block) override {
    std::deque<LearnedLimits> limits;
    SWAGE_RETURN_IF_ERROR(
        block.for_each_subset([&](SubsetContext& subset) { return prepare(subset, &limits); }));
    if (limits.empty()) return absl::OkStatus();
    SWAGE_RETURN_IF_ERROR(learn(block, limits));
    for (LearnedLimits& learned : limits) {
      learned.linear->clip_low = learned.low();
      learned.linear->clip_high = learned.high();
      SWAGE_ASSIGN_OR_RETURN(CompressedLinear result,
                             quant::quantize(*learned.linear, learned.scheme, learned.scale_dtype));
      SWAGE_RETURN_IF_ERROR(block.emit(*learned.linear, std::move(result)));
    }
    return absl::OkStatus();
  }

  absl::Status subset_transform(SubsetContext&) override { return absl::OkStatus(); }

 private:
  // Linears whose scheme has no range limits are rounded at once, and stay so while the others
  // learn.
  absl::Status prepare(SubsetContext& subset, std::deque<LearnedLimits>* limits) const {
    for (Linear* linear : subset.linears()) {
      WeightScheme scheme = subset.weight_scheme(*linear);
      const at::ScalarType scale_dtype = subset.scale_dtype(*linear);
      if (!can_learn(scheme)) {
        SWAGE_ASSIGN_OR_RETURN(CompressedLinear result,
                               quant::quantize(*linear, scheme, scale_dtype));
        SWAGE_RETURN_IF_ERROR(subset.emit(*linear, std::move(result)));
        continue;
      }
      scheme.range = RangeRule::kMinmax;  // the limits are the range
      LearnedLimits learned(*linear, scheme, scale_dtype);
      if (start_ == Start::kSearched) {
        quant::LimitSearch search;
        search.symmetric = scheme.symmetric;
        SWAGE_ASSIGN_OR_RETURN(
            const quant::Limits found,
            quant::search_limits(linear->weight, subset.hessian(), scheme, scale_dtype, search));
        learned.start_at(found);
      }
      limits->push_back(std::move(learned));
    }
    return absl::OkStatus();
  }

  absl::Status learn(BlockContext& block, std::deque<LearnedLimits>& limits) const {
    std::vector<train::TrainedLinear> linears;
    std::vector<at::Tensor> parameters;
    for (LearnedLimits& learned : limits) {
      const auto weight = [&learned] {
        return train::fake_quantize(learned.linear->weight, learned.low(), learned.high(),
                                    learned.scheme, learned.scale_dtype);
      };
      linears.push_back({learned.linear, weight, block.activation_scheme(*learned.linear)});
      for (const at::Tensor& logits : learned.logits) parameters.push_back(logits);
    }
    train::BlockTrainer trainer(block.block(), block.inputs(), std::move(linears));
    SWAGE_ASSIGN_OR_RETURN(const double rounded, trainer.loss());
    for (LearnedLimits& learned : limits) {
      for (size_t i = 0; i < learned.logits.size(); ++i)
        learned.logits[i].copy_(learned.start[i]).requires_grad_(true);
    }
    SWAGE_ASSIGN_OR_RETURN(const train::Fit fit, trainer.fit(parameters, schedule_));
    const bool better = fit.best < rounded;
    for (at::Tensor& logits : parameters) {
      logits.requires_grad_(false);
      if (!better) logits.fill_(kFull);
    }
    block.note(absl::StrFormat(
        "mean squared error of the outputs %.4g rounded to nearest, %.4g at the start, %.4g "
        "learned%s",
        rounded, fit.initial, fit.best,
        better ? absl::StrCat(" in ", fit.best_epoch, " epochs") : ": left as rounded"));
    return absl::OkStatus();
  }

  const Start start_;
  train::Schedule schedule_;
};

}  // namespace

SWAGE_ALGORITHM(OmniQuant, "omniquant");
