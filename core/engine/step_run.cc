#include "core/engine/step_run.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/engine/opened_model.h"
#include "core/engine/outcome.h"
#include "core/engine/outlived.h"
#include "core/engine/random.h"
#include "core/engine/stored_item.h"
#include "core/load/origins.h"
#include "swage/border.h"
#include "swage/call_site.h"
#include "swage/printable.h"
#include "swage/quant/quantizer.h"
#include "swage/quant/static_range.h"
#include "swage/status.h"
#include "swage/transform/fold.h"
#include "swage/transform/online.h"

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

at::Tensor own_copy(const at::Tensor& tensor) { return tensor.defined() ? tensor.clone() : tensor; }

// For an algorithm to spoil.
SubsetStats own_copy(const SubsetStats& stats) {
  SubsetStats copy = stats;
  for (at::Tensor* tensor : {&copy.hessian, &copy.absmax, &copy.mean_abs, &copy.square_sum,
                             &copy.minimum, &copy.maximum, &copy.histogram})
    *tensor = own_copy(*tensor);
  for (const auto& [name, tensor] : stats.sample.tensors()) copy.sample[name] = own_copy(tensor);
  return copy;
}

// Σ x² of each column: the diagonal of the Hessian where that was measured.
at::Tensor importance_of(const SubsetStats& stats) {
  if (stats.square_sum.defined()) return stats.square_sum.clone();
  return stats.hessian.defined() ? stats.hessian.diagonal().to(at::kFloat).clone() : at::Tensor();
}

constexpr size_t kMostNotes = 1000;  // of a step on one block

}  // namespace

template <class Base>
class StepRun::Context : public Base {
 public:
  Context(StepRun& run, int64_t subset) : run_(&run), index_(subset) {}
  Block& block() override { return run().block_; }
  Target target(const Linear& linear) const override { return run().target(linear); }
  std::shared_ptr<const Codec> activation_codec(const Linear& linear) const override {
    return run().codecs(linear).activation;
  }
  absl::Status emit(Linear& linear, Result result) override {
    return run().emit(linear, std::move(result));
  }
  void note(std::string_view text) override { run().note(text); }
  uint64_t random(uint64_t counter) const override { return run().random(index_, counter); }

  // The call is over: every further use throws.
  virtual void close() { run_ = nullptr; }

 protected:
  StepRun& run() const {
    if (run_ == nullptr) refuse_outlived("a step's context");
    return *run_;
  }
  StepRun* run_;
  const int64_t index_;  // of the subset; -1: the whole block
};

class StepRun::SubsetRun final : public Context<SubsetContext> {
 public:
  SubsetRun(StepRun& run, Subset& subset, int64_t index, std::vector<Linear*> linears,
            SubsetStats stats)
      : Context(run, index),
        subset_(&subset),
        linears_(std::move(linears)),
        stats_(std::move(stats)) {}

  Subset& subset() override { return run(), *subset_; }
  const std::vector<Linear*>& linears() override { return run(), linears_; }
  const SubsetStats& stats() override { return run(), stats_; }
  at::Tensor inspect(const Slots& sample) override {
    const FloatView floats(subset(), run().input_.view);
    if (subset().inspect_module) return run().block_.inspect(index_, sample);
    const at::Tensor& x = sample.at(subset().input);
    std::vector<at::Tensor> outputs;
    for (const Linear* linear : linears_) outputs.push_back(linear->apply(x));
    return at::cat(outputs, 1);
  }
  absl::Status fold(const at::Tensor& scale) override {
    return run().fold(*subset_, scale, stats_);
  }
  void close() override {
    Context::close();
    stats_ = SubsetStats();  // they are large
  }

 private:
  Subset* const subset_;
  const std::vector<Linear*> linears_;
  SubsetStats stats_;
};

class StepRun::BlockRun final : public Context<BlockContext> {
 public:
  explicit BlockRun(StepRun& run) : Context(run, -1) {}
  const std::vector<Slots>& inputs() override {
    const TokenStream* const stream = run().input_.stream;
    if (stream == nullptr || !inputs_.empty()) return inputs_;
    for (const TokenStream::Batch& batch : stream->batches)
      if (batch.rows > 0) inputs_.push_back(stream->slots(batch));
    digest_ = digest_of(*stream);
    return inputs_;
  }
  absl::Status for_each_subset(const std::function<absl::Status(SubsetContext&)>& visit) override {
    return run().walk(visit);
  }
  // The tensors are the stream's own.
  absl::Status check_inputs() {
    if (inputs_.empty() || digest_of(*run().input_.stream) == digest_) return absl::OkStatus();
    return plugin_fault("it wrote into inputs(), which later steps start from; clone what changes");
  }
  void close() override {
    Context::close();
    inputs_.clear();
  }

 private:
  static std::string digest_of(const TokenStream& stream) {
    std::string all = swage::digest(stream.hidden);
    for (const TokenStream::Batch& batch : stream.batches) {
      if (batch.slots.positions.defined()) all += swage::digest(batch.slots.positions);
      for (const auto& [name, tensor] : batch.slots.tensors()) all += name + swage::digest(tensor);
    }
    return all;
  }
  std::vector<Slots> inputs_;
  std::string digest_;
};

StepRun::StepRun(const PlannedStep& planned, Block& block, const Input& input,
                 const std::string& adapter, int64_t seed, Reporter& reporter)
    : planned_(planned),
      block_(block),
      input_(input),
      adapter_(adapter),
      seed_(seed),
      reporter_(reporter),
      watch_(block) {}

absl::Status StepRun::transform() {
  block_.set_view(input_.view);
  const auto context = std::make_shared<BlockRun>(*this);
  const CallSite site = site_of(planned_.algorithm.get(), text_of(block_.id()));
  const absl::Status status = call_plugin(site, [&]() -> absl::Status {
    const absl::Status transformed = planned_.algorithm->block_transform(*context);
    if (transformed.GetPayload(kThrownByPlugin)) return transformed;
    // What it left may be why it failed.
    SWAGE_RETURN_IF_ERROR(transformed.ok() ? watch_.check_all() : watch_.check());
    return transformed.ok() ? context->check_inputs() : transformed;
  });
  context->close();
  outlive(context);
  walk_.reset();
  return status;
}

absl::Status StepRun::walk(const std::function<absl::Status(SubsetContext&)>& visit) {
  if (walks_) return plugin_fault("for_each_subset() is called while it runs");
  walks_ = true;
  const absl::Status status = walk_stages(visit);
  walks_ = false;
  return status;
}

absl::Status StepRun::walk_stages(const std::function<absl::Status(SubsetContext&)>& visit) {
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
    SWAGE_RETURN_IF_ERROR(go_back(i));
  }
  if (input_.wants_output) {
    SWAGE_RETURN_IF_ERROR(walk_->run_stage(count));
    output_ = walk_->take_output();
    changes_at_output_ = changes_;
    digest_at_output_ = watch_.digest();
  }
  walk_.reset();
  return absl::OkStatus();
}

// What was written into stages that the walk has passed already: they are passed once more.
absl::Status StepRun::go_back(int64_t index) {
  if (!watch_.written(ahead()) && !wrote_) return absl::OkStatus();
  wrote_ = false;
  return walk_->restart(index);
}

// Linears of the subset at work and of those behind it: the walk has not passed them.
std::vector<const Linear*> StepRun::ahead() const {
  std::vector<const Linear*> all;
  for (size_t i = static_cast<size_t>(at_); i < block_.subsets().size(); ++i) {
    const std::vector<Linear*>& linears = block_.subsets()[i].linears;
    all.insert(all.end(), linears.begin(), linears.end());
  }
  return all;
}

absl::Status StepRun::visit_subset(int64_t index,
                                   const std::function<absl::Status(SubsetContext&)>& visit) {
  at_ = index;
  Subset& subset = block_.subsets()[static_cast<size_t>(index)];
  if (work_of(subset).empty()) return absl::OkStatus();
  if (!subset.parts.empty() && !planned_.needs.wants_whole_inputs())
    return visit_parts(index, visit);
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
        stats = own_copy(*whole);
      }
    }
    SWAGE_RETURN_IF_ERROR(visit_measured(part, index, std::move(stats), visit));
  }
  return absl::OkStatus();
}

absl::Status StepRun::visit_measured(Subset& subset, int64_t index, SubsetStats stats,
                                     const std::function<absl::Status(SubsetContext&)>& visit) {
  const auto context =
      std::make_shared<SubsetRun>(*this, subset, index, work_of(subset), std::move(stats));
  remember(context->linears(), context->stats());
  const absl::Status status = call_part(subset.name, [&]() -> absl::Status {
    const absl::Status visited = visit(*context);
    SWAGE_RETURN_IF_ERROR(watch_.check());  // what it left may be why it failed
    return visited;
  });
  context->close();
  outlive(context);
  return status;
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
    Target to = target(*linear);
    if (to.codec->wants_importance()) to.request.range = "mse";  // nothing is known of its columns
    SWAGE_ASSIGN_OR_RETURN(Result result, quant::quantize(*linear, to));
    result.set_provenance(absl::StrCat("round to nearest, in place of ", planned_.provenance));
    const auto activation = codecs(*linear).activation;
    if (activation && !activation->input_levels(-1, 1).empty()) {
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
  return linear.kept_by.empty() && works_on(*planned_.step, linear.name);
}

absl::Status StepRun::emit(Linear& linear, Result result) {
  SWAGE_RETURN_IF_ERROR(check_emitted(linear, result));
  if (result.name().empty()) result.set_name(linear.name);
  if (result.provenance().empty()) result.set_provenance(planned_.provenance);
  if (!result.activation()) SWAGE_RETURN_IF_ERROR(add_activation(linear, result));
  SWAGE_RETURN_IF_ERROR(check_scheme(linear, result));
  ++changes_;
  // The algorithm may keep what it gave and write into it later.
  absl::Status status = as_plugin_fault(linear.set_result(swage::own_copy(result)));
  watch_.emitted(linear);
  return status;
}

absl::Status StepRun::check_emitted(const Linear& linear, const Result& result) {
  const bool ours = std::any_of(block_.linears().begin(), block_.linears().end(),
                                [&](const Linear& one) { return &one == &linear; });
  if (!ours) return plugin_fault("a linear is emitted that is none of this block's");
  if (!applies(linear))
    return plugin_fault(absl::StrCat(linear.name, ": emitted, although the step leaves it out"));
  if (!emitted_.insert(&linear).second)
    return plugin_fault(absl::StrCat(linear.name, ": emitted twice by one step"));
  if (!result.name().empty() && result.name() != linear.name)
    return plugin_fault(absl::StrCat(linear.name, ": emitted under the name ", result.name()));
  const bool told =
      planned_.needs.leaves_online_transforms() || result.online_transform().empty() ||
      (linear.online_transform && linear.online_transform->text() == result.online_transform());
  if (!told)
    return plugin_fault(absl::StrCat(
        linear.name, ": emitted with a transform at run time, which needs() does not announce"));
  if (!planned_.needs.leaves_sides() && !result.sides().empty())
    return plugin_fault(absl::StrCat(linear.name, ": emitted with ",
                                     name_of(result.sides().front().kind),
                                     ", which needs() does not announce"));
  if (!planned_.needs.leaves_masks() && result.mask().defined() && !linear.mask.defined())
    return plugin_fault(
        absl::StrCat(linear.name, ": emitted with a mask, which needs() does not announce"));
  return absl::OkStatus();
}

LinearCodecs StepRun::codecs(const Linear& linear) const {
  const Step& step = *planned_.step;
  auto found = codecs_of(step, scheme_for(step, linear.name));
  SWAGE_CHECK(found.ok());  // planned_linears() made them all
  return *std::move(found);
}

Target StepRun::target(const Linear& linear) const {
  const LinearCodecs made = codecs(linear);
  Target target;
  target.codec = made.weight;
  if (!made.weight) return target;
  target.request.scale_dtype =
      made.weight->open_scale_type(linear.storage, made.activation != nullptr);
  if (const auto found = importance_.find(&linear); found != importance_.end())
    target.request.importance = found->second;
  if (made.weight->wants_fused()) target.request.fused = fused_with(linear);
  return target;
}

// Engines multiply by the weights of one input together, as far as they have one format. Each is
// what its own fit sees of it: within its limits, without what is pruned.
std::vector<at::Tensor> StepRun::fused_with(const Linear& linear) const {
  std::vector<at::Tensor> weights;
  const auto add = [&](const Subset& subset) {
    const auto& linears = subset.linears;
    if (std::find(linears.begin(), linears.end(), &linear) == linears.end()) return;
    for (const Linear* other : linears) {
      if (other != &linear && applies(*other) && codecs(*other).weight == codecs(linear).weight)
        weights.push_back(quant::fitted_weight(*other, *codecs(*other).weight));
    }
  };
  for (const Subset& subset : block_.subsets()) {
    if (subset.parts.empty()) add(subset);
    for (const Subset& part : subset.parts) add(part);
  }
  return weights;
}

// A result is what the pipeline asked for, where it says so.
absl::Status StepRun::check_scheme(const Linear& linear, const Result& result) const {
  const Step& step = *planned_.step;
  const LinearCodecs asked = codecs(linear);
  const auto differ = [&](const std::string& found, const std::string& expected) {
    return plugin_fault(absl::StrCat(linear.name, ": emitted as ", found,
                                     ", although the pipeline asks for ", expected));
  };
  if (result.empty()) return plugin_fault(absl::StrCat(linear.name, ": emitted nothing"));
  const bool floats = result.codec()->code_bits() == 0;
  if (step.takes_weight && !floats && result.codec()->form() != asked.weight->form())
    return differ(result.codec()->describe(), asked.weight->describe());
  if (!asked.activation || !result.activation() || result.activation()->codec == nullptr)
    return absl::OkStatus();
  if (result.activation()->codec->form() == asked.activation->form()) return absl::OkStatus();
  return differ("one of " + result.activation()->codec->describe(), asked.activation->describe());
}

absl::Status StepRun::add_activation(const Linear& linear, Result& result) const {
  const std::shared_ptr<const Codec> codec = codecs(linear).activation;
  if (!codec) return absl::OkStatus();
  if (codec->input_levels(-1, 1).empty()) {
    result.set_activation(ActivationQuantizer{codec, {}});
    return absl::OkStatus();
  }
  const auto range = ranges_.find(&linear);
  if (range == ranges_.end()) {
    return plugin_fault(absl::StrCat(linear.name, ": emitted before its input was measured"));
  }
  const auto& [minimum, maximum, histogram] = range->second;
  const quant::Ends ends = quant::static_range(*codec, minimum, maximum, histogram);
  result.set_activation(ActivationQuantizer{codec, codec->input_levels(ends.low, ends.high)});
  return absl::OkStatus();
}

absl::Status StepRun::fold(Subset& subset, const at::Tensor& scale, SubsetStats& stats) {
  std::vector<Linear*> touched = subset.linears;
  touched.insert(touched.end(), subset.readers.begin(), subset.readers.end());
  if (subset.fold.linear != nullptr) touched.push_back(subset.fold.linear);
  for (const Linear* linear : touched) {
    if (!linear->result()) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "a scale cannot be folded into ", linear->name, ", which ", linear->result()->provenance(),
        " has quantized already; put steps that scale before steps that quantize"));
  }
  if (!scale.defined() || scale.dim() != 1)
    return plugin_fault(absl::StrCat(subset.name, ": folded with no vector of scales"));
  // A scale that fits is one that the algorithm makes; where none does is for the user to know.
  wrote_ |= watch_.written(ahead());
  auto folded = transform::fold_scale(subset, scale);
  if (absl::IsInvalidArgument(folded.status())) return as_plugin_fault(folded.status());
  SWAGE_RETURN_IF_ERROR(folded.status());
  watch_.accept();
  ++changes_;
  if (walk_ != nullptr) walk_->divide_input(subset, *folded, stats);
  remember(subset.linears, stats);
  return absl::OkStatus();
}

// What of a linear's input its schemes need when it is emitted.
void StepRun::remember(const std::vector<Linear*>& linears, const SubsetStats& stats) {
  for (const Linear* linear : linears) {
    if (stats.minimum.defined())
      ranges_[linear] = {stats.minimum.item<float>(), stats.maximum.item<float>(), stats.histogram};
    if (!applies(*linear)) continue;
    const LinearCodecs made = codecs(*linear);
    if (made.weight && made.weight->wants_importance()) importance_[linear] = importance_of(stats);
  }
}

void StepRun::note(std::string_view text) {
  if (notes_.size() > kMostNotes) return;
  const bool last = notes_.size() == kMostNotes;
  notes_.push_back(absl::StrCat(text_of(block_.id()), ": ", planned_.step->name, ": ",
                                last ? "more notes are left out" : printable(text)));
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
