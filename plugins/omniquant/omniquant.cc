#include <deque>

#include "absl/strings/str_format.h"
#include "swage/one_piece.h"
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

// Limits of one linear: shares of both ends of each group's range, as sigmoids of logits [out,
// groups]. A symmetric range has one, of its largest magnitude.
struct LearnedLimits {
  Linear* linear;
  Target target;
  bool symmetric;
  train::Ends ends;
  std::vector<at::Tensor> logits;  // low, high; or both in one
  std::vector<at::Tensor> start;

  LearnedLimits(Linear& linear, const Target& target)
      : linear(&linear), target(target), symmetric(quant::is_symmetric(*target.codec)) {
    ends = train::group_ends(linear.weight, *target.codec);
    if (symmetric) {
      ends.high = ends.high.maximum(-ends.low);
      ends.low = -ends.high;
    }
    for (int i = 0; i < (symmetric ? 1 : 2); ++i) {
      start.push_back(ends.high.new_full(ends.high.sizes(), kWide));
      logits.push_back(ends.high.new_full(ends.high.sizes(), kFull));
    }
  }

  // An end that is zero has no share.
  void start_at(const quant::Limits& limits) {
    const auto logit = [](const at::Tensor& limit, const at::Tensor& end) {
      const at::Tensor share = (limit / end).masked_fill(end.eq(0), 1).clamp(0.01, 1);
      return in_one_piece([&] { return share.logit(); }).clamp_max(kWide);
    };
    start = {logit(limits.low, ends.low)};
    if (!symmetric) start.push_back(logit(limits.high, ends.high));
  }

  at::Tensor low() const { return share(logits.front()) * ends.low; }
  at::Tensor high() const { return share(logits.back()) * ends.high; }

  static at::Tensor share(const at::Tensor& logits) {
    return in_one_piece([&] { return logits.sigmoid(); });
  }
};

// Learns how far each group's range may reach, against the outputs of the whole block (Shao et al.
// 2023, learned weight clipping), then rounds to nearest within these limits.
class OmniQuant final : public Algorithm {
 public:
  explicit OmniQuant(const Params& params)
      : start_(params.choice<Start>("start", {"searched", "wide"})),
        schedule_{params.i64("epochs"), params.i64("batch"), params.f64("learning_rate")} {}

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
      SWAGE_RETURN_IF_ERROR(round(block, *learned.linear, learned.target));
    }
    return absl::OkStatus();
  }

  absl::Status subset_transform(SubsetContext&) override { return absl::OkStatus(); }

 private:
  static absl::Status round(StepContext& context, Linear& linear, const Target& target) {
    SWAGE_ASSIGN_OR_RETURN(Result result, quant::quantize(linear, target));
    return context.emit(linear, std::move(result));
  }

  // Linears whose scheme has no range limits are rounded at once, and stay so while the others
  // learn.
  absl::Status prepare(SubsetContext& subset, std::deque<LearnedLimits>* limits) const {
    for (Linear* linear : subset.linears()) {
      Target target = subset.target(*linear);
      if (!target.codec->takes_limits()) {
        SWAGE_RETURN_IF_ERROR(round(subset, *linear, target));
        continue;
      }
      target.request.range = "minmax";  // the limits are the range
      LearnedLimits learned(*linear, target);
      if (start_ == Start::kSearched) {
        quant::LimitSearch search;
        search.symmetric = learned.symmetric;
        SWAGE_ASSIGN_OR_RETURN(const quant::Limits found,
                               quant::search_limits(linear->weight, subset.hessian(), *target.codec,
                                                    target.request.scale_dtype, search));
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
                                    *learned.target.codec, learned.target.request.scale_dtype);
      };
      linears.push_back({learned.linear, weight, block.activation_codec(*learned.linear)});
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
        "error of the outputs %.4g rounded to nearest, %.4g at the start, %.4g learned%s%s",
        rounded, fit.initial, fit.best,
        better ? absl::StrCat(" in ", fit.best_epoch, " epochs") : ": left as rounded",
        fit.overflowed ? "; gradients left the range of fp32, which ended the learning" : ""));
    return absl::OkStatus();
  }

  const Start start_;
  const train::Schedule schedule_;
};

}  // namespace

SWAGE_ALGORITHM(OmniQuant, "omniquant");
