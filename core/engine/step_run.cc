#include "core/engine/step_run.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/engine/opened_model.h"
#include "core/engine/outcome.h"
#include "core/engine/random.h"
#include "swage/border.h"
#include "swage/quant/quantizer.h"
#include "swage/status.h"
#include "swage/transform/fold.h"

namespace swage {
namespace {

// Sets the view of a subset's linears for a while: a search compares float weights, whatever
// earlier steps emitted.
class FloatView {
 public:
  FloatView(Subset& subset, View after) : subset_(subset), after_(after) { set(View::kFloat); }
  ~FloatView() { set(after_); }

 private:
  void set(View view) {
    for (Linear* linear : subset_.linears) linear->set_view(view);
  }
  Subset& subset_;
  const View after_;
};

}  // namespace

template <class Base>
class StepRun::Context : public Base {
 public:
  Context(StepRun& run, int64_t subset) : run_(run), index_(subset) {}
  Block& block() override { return run_.block_; }
  WeightScheme weight_scheme(const Linear& linear) const override {
    return scheme_for(*run_.planned_.step, linear.name).weight;
  }
  std::optional<ActivationScheme> activation_scheme(const Linear& linear) const override {
    return scheme_for(*run_.planned_.step, linear.name).activation;
  }
  at::ScalarType scale_dtype(const Linear& linear) const override {
    return swage::scale_dtype(scheme_for(*run_.planned_.step, linear.name), linear.storage);
  }
  absl::Status emit(Linear& linear, CompressedLinear result) override {
    return run_.emit(linear, std::move(result));
  }
  void note(std::string_view text) override { run_.note(text); }
  uint64_t random(uint64_t counter) const override { return run_.random(index_, counter); }

 protected:
  StepRun& run_;
  const int64_t index_;  // of the subset; -1: the whole block
};

class StepRun::SubsetRun final : public Context<SubsetContext> {
 public:
  SubsetRun(StepRun& run, Subset& subset, int64_t index, std::vector<Linear*> linears,
            SubsetStats stats)
      : Context(run, index),
        subset_(subset),
        linears_(std::move(linears)),
        stats_(std::move(stats)) {}

  Subset& subset() override { return subset_; }
  const std::vector<Linear*>& linears() override { return linears_; }
  const SubsetStats& stats() override { return stats_; }
  at::Tensor inspect(const Slots& sample) override {
    const FloatView floats(subset(), run_.input_.view);
    if (subset().inspect_module) return run_.block_.inspect(index_, sample);
    const at::Tensor& x = sample.at(subset().input);
    std::vector<at::Tensor> outputs;
    for (const Linear* linear : linears_) outputs.push_back(linear->apply(x));
    return at::cat(outputs, 1);
  }
  absl::Status fold(const at::Tensor& scale) override { return run_.fold(subset_, scale, stats_); }

 private:
  Subset& subset_;
  const std::vector<Linear*> linears_;
  SubsetStats stats_;
};

class StepRun::BlockRun final : public Context<BlockContext> {
 public:
  explicit BlockRun(StepRun& run) : Context(run, -1) {
    if (run_.input_.stream == nullptr) return;
    for (const TokenStream::Batch& batch : run_.input_.stream->batches)
      if (batch.rows > 0) inputs_.push_back(run_.input_.stream->slots(batch));
  }
  const std::vector<Slots>& inputs() override { return inputs_; }
  absl::Status for_each_subset(const std::function<absl::Status(SubsetContext&)>& visit) override {
    return run_.walk(visit);
  }

 private:
  std::vector<Slots> inputs_;
};

StepRun::StepRun(const PlannedStep& planned, Block& block, const Input& input,
                 const std::string& adapter, int64_t seed, Reporter& reporter)
    : planned_(planned),
      block_(block),
      input_(input),
      adapter_(adapter),
      seed_(seed),
      reporter_(reporter) {}

absl::Status StepRun::transform() {
  block_.set_view(input_.view);
  BlockRun context(*this);
  return guarded({planned_.step->name, text_of(block_.id())},
                 [&] { return planned_.algorithm->block_transform(context); });
}

absl::Status StepRun::walk(const std::function<absl::Status(SubsetContext&)>& visit) {
  const int64_t count = block_.stage_count() - 1;
  if (input_.stream == nullptr) {
    for (int64_t i = 0; i < count; ++i) SWAGE_RETURN_IF_ERROR(visit_subset(i, visit));
    return absl::OkStatus();
  }
  walk_ = std::make_unique<StageWalk>(block_, *input_.stream, input_.view, adapter_,
                                      input_.experts_seen);
  for (int64_t i = 0; i < count; ++i) {
    reporter_.at(
        absl::StrCat(planned_.step->name, ": ", block_.subsets()[static_cast<size_t>(i)].name),
        static_cast<double>(i) / static_cast<double>(count));
    SWAGE_RETURN_IF_ERROR(walk_->run_stage(i));
    SWAGE_RETURN_IF_ERROR(visit_subset(i, visit));
  }
  if (input_.wants_output) {
    SWAGE_RETURN_IF_ERROR(walk_->run_stage(count));
    output_ = walk_->take_output();
    changes_at_output_ = changes_;
  }
  walk_.reset();
  return absl::OkStatus();
}

absl::Status StepRun::visit_subset(int64_t index,
                                   const std::function<absl::Status(SubsetContext&)>& visit) {
  Subset& subset = block_.subsets()[static_cast<size_t>(index)];
  if (work_of(subset).empty()) return absl::OkStatus();
  if (!subset.parts.empty() && !planned_.needs.wants_whole_inputs) return visit_parts(index, visit);
  SubsetStats stats;
  if (walk_ != nullptr) {
    SWAGE_ASSIGN_OR_RETURN(stats, walk_->measure(subset, planned_.needs));
    if (starved(subset, stats)) return round_to_nearest(subset, stats.tokens);
  }
  return visit_measured(subset, index, std::move(stats), visit);
}

// Experts on one input, one after the other: one of their Hessians lies in memory at a time.
absl::Status StepRun::visit_parts(int64_t index,
                                  const std::function<absl::Status(SubsetContext&)>& visit) {
  Subset& subset = block_.subsets()[static_cast<size_t>(index)];
  std::optional<SubsetStats> whole;  // of all tokens
  for (Subset& part : subset.parts) {
    if (work_of(part).empty()) continue;
    SubsetStats stats;
    if (walk_ != nullptr) {
      SWAGE_ASSIGN_OR_RETURN(stats, walk_->measure(part, planned_.needs));
      if (starved(part, stats)) {
        note(absl::StrCat(part.name, ": ", stats.tokens, " tokens reach this expert, fewer than ",
                          input_.expert_tokens, ": measured on all tokens instead"));
        if (!whole) {
          SWAGE_ASSIGN_OR_RETURN(whole, walk_->measure(subset, planned_.needs));
        }
        stats = *whole;
        if (stats.hessian.defined()) stats.hessian = stats.hessian.clone();
      }
    }
    SWAGE_RETURN_IF_ERROR(visit_measured(part, index, std::move(stats), visit));
  }
  return absl::OkStatus();
}

absl::Status StepRun::visit_measured(Subset& subset, int64_t index, SubsetStats stats,
                                     const std::function<absl::Status(SubsetContext&)>& visit) {
  SubsetRun context(*this, subset, index, work_of(subset), std::move(stats));
  if (context.stats().minimum.defined()) {
    const Range range = {context.stats().minimum.item<float>(),
                         context.stats().maximum.item<float>()};
    for (const Linear* linear : context.linears()) ranges_[linear] = range;
  }
  return annotate(visit(context), subset.name);
}

std::vector<Linear*> StepRun::work_of(const Subset& subset) const {
  std::vector<Linear*> linears;
  for (Linear* linear : subset.linears) {
    if (applies(*linear)) linears.push_back(linear);
  }
  return linears;
}

// Do too few tokens reach these linears to measure them?
bool StepRun::starved(const Subset& subset, const SubsetStats& stats) {
  if (subset.route.empty()) return stats.tokens == 0;
  expert_tokens_[subset.name] = stats.tokens;
  return stats.tokens < std::max<int64_t>(input_.expert_tokens, 1);
}

// A pure transform leaves such linears alone.
absl::Status StepRun::round_to_nearest(const Subset& subset, int64_t tokens) {
  const bool rounds = planned_.step->takes_weight;
  note(absl::StrCat(subset.name, ": ", tokens, " tokens reach it, fewer than ",
                    std::max<int64_t>(input_.expert_tokens, 1), ": ",
                    rounds ? "rounded to nearest" : "left as it is"));
  if (!rounds) return absl::OkStatus();
  for (Linear* linear : work_of(subset)) {
    const LinearScheme scheme = scheme_for(*planned_.step, linear->name);
    SWAGE_ASSIGN_OR_RETURN(
        CompressedLinear result,
        quant::quantize(*linear, scheme.weight, swage::scale_dtype(scheme, linear->storage)));
    result.provenance = absl::StrCat("round to nearest, in place of ", planned_.provenance);
    if (scheme.activation && !scheme.activation->dynamic) {
      return absl::FailedPreconditionError(
          absl::StrCat(linear->name,
                       ": too few tokens for a static scale of its input; give [calibration] more "
                       "samples, or experts = \"all\""));
    }
    SWAGE_RETURN_IF_ERROR(emit(*linear, std::move(result)));
  }
  return absl::OkStatus();
}

bool StepRun::applies(const Linear& linear) const {
  if (!linear.kept_by.empty()) return false;
  const LinearScheme scheme = scheme_for(*planned_.step, linear.name);
  return scheme.applies && !scheme.keep;
}

absl::Status StepRun::emit(Linear& linear, CompressedLinear result) {
  if (!applies(linear)) {
    return absl::InternalError(absl::StrCat(
        linear.name, ": emitted, although the step leaves it out, a bug of the plugin"));
  }
  if (result.name.empty()) result.name = linear.name;
  if (result.provenance.empty()) result.provenance = planned_.provenance;
  if (!result.activation) SWAGE_RETURN_IF_ERROR(add_activation(linear, result));
  ++changes_;
  return linear.set_result(std::move(result));
}

absl::Status StepRun::add_activation(const Linear& linear, CompressedLinear& result) const {
  const auto scheme = scheme_for(*planned_.step, linear.name).activation;
  if (!scheme) return absl::OkStatus();
  if (scheme->dynamic) {
    result.activation = ActivationQuantizer{*scheme, {}, {}};
    return absl::OkStatus();
  }
  const auto range = ranges_.find(&linear);
  if (range == ranges_.end()) {
    return absl::InternalError(
        absl::StrCat(linear.name, ": emitted before its input was measured, a bug of the plugin"));
  }
  result.activation =
      quant::static_quantizer(*scheme, range->second.minimum, range->second.maximum);
  return absl::OkStatus();
}

absl::Status StepRun::fold(Subset& subset, const at::Tensor& scale, SubsetStats& stats) {
  std::vector<Linear*> touched = subset.linears;
  touched.insert(touched.end(), subset.readers.begin(), subset.readers.end());
  if (subset.fold.linear != nullptr) touched.push_back(subset.fold.linear);
  for (const Linear* linear : touched) {
    if (!linear->result()) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "a scale cannot be folded into ", linear->name, ", which ", linear->result()->provenance,
        " has quantized already; put steps that scale before steps that quantize"));
  }
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor folded, transform::fold_scale(subset, scale));
  ++changes_;
  if (walk_ != nullptr) walk_->divide_input(subset, folded, stats);
  if (!stats.minimum.defined()) return absl::OkStatus();
  for (Linear* linear : subset.linears)
    ranges_[linear] = {stats.minimum.item<float>(), stats.maximum.item<float>()};
  return absl::OkStatus();
}

void StepRun::note(std::string_view text) {
  notes_.push_back(absl::StrCat(text_of(block_.id()), ": ", planned_.step->name, ": ",
                                absl::string_view(text.data(), text.size())));
  reporter_.note(notes_.back());
}

uint64_t StepRun::random(int64_t subset, uint64_t counter) const {
  uint64_t tower = 0;
  for (const char letter : block_.id().tower)
    tower = random_value({tower, static_cast<uint64_t>(letter)});
  return random_value(
      {static_cast<uint64_t>(seed_), tower, static_cast<uint64_t>(block_.id().index),
       static_cast<uint64_t>(planned_.index), static_cast<uint64_t>(subset), counter});
}

}  // namespace swage
