#include "core/engine/planned_step.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/opened_model.h"
#include "core/engine/outlived.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/status.h"

namespace swage {
namespace {

// What the schemes of the step's linears ask for, its own and those that overrides make of it.
void add_needs_of_schemes(const Step& step, Needs& needs) {
  if (!schemes_measure(step)) return;
  bool fixed = false, chosen = false;
  for (const Scheme& scheme : possible_schemes(step, "activation")) {
    const Value keys(scheme.keys);
    fixed |= !keys.flag("dynamic", true);
    chosen |= keys.str("static_range", "minmax") != "minmax";
  }
  if (fixed) needs.range();
  if (chosen) needs.histogram();
  if (step.takes_weight && !needs.wants_hessian()) needs.square_sum();
  if (needs.stream() == Stream::kNone) needs.calibrate_on(Stream::kOriginal);
}

bool wants_statistics(const Needs& needs) {
  return needs.wants_hessian() || needs.wants_absmax() || needs.wants_mean_abs() ||
         needs.wants_range() || needs.wants_square_sum() || needs.wants_histogram() ||
         needs.sample_tokens() > 0;
}

std::string quoted(const Step& step) { return absl::StrCat("step \"", step.name, "\""); }

absl::Status check_needs(const Needs& needs) {
  if (needs.stream() < Stream::kNone || needs.stream() > Stream::kCompressed)
    return plugin_fault("asks for a stream that does not exist");
  if (needs.sample_tokens() < 0)
    return plugin_fault(absl::StrCat("asks for a sample of ", needs.sample_tokens(), " tokens"));
  if (wants_statistics(needs) && needs.stream() == Stream::kNone)
    return plugin_fault("asks for statistics without calibrate_on()");
  return absl::OkStatus();
}

absl::Status settle_needs(PlannedStep& planned) {
  const Step& step = *planned.step;
  SWAGE_RETURN_IF_ERROR(call_plugin(site_of(planned.algorithm.get(), "needs"), [&] {
    planned.needs = planned.algorithm->needs();
    planned.measures = planned.needs.stream() != Stream::kNone;
    return check_needs(planned.needs);
  }));
  Needs& needs = planned.needs;
  add_needs_of_schemes(step, needs);
  if (step.calibrate_on == "original") needs.calibrate_on(Stream::kOriginal);
  if (step.calibrate_on == "compressed") needs.calibrate_on(Stream::kCompressed);
  return absl::OkStatus();
}

// Tells whether a step asks for the ends of the model, which is where it rotates all of it.
class Asked final : public ModelContext {
 public:
  explicit Asked(const ModelShape& shape) : shape_(shape) {}
  const ModelShape& shape() const override { return shape_; }
  Embedding& embedding() override { stop(); }
  Head& head() override { stop(); }
  void note(std::string_view) override {}
  uint64_t random(uint64_t) const override { return 0; }
  bool asked() const { return asked_; }

 private:
  struct Stop : std::exception {};
  [[noreturn]] void stop() {
    asked_ = true;
    throw Stop();
  }
  const ModelShape shape_;
  bool asked_ = false;
};

// With an instance of its own: the one that works is not asked twice.
absl::StatusOr<bool> changes_the_model(const PlannedStep& planned, const OpenedModel& model,
                                       Loader& loader) {
  const Step& step = *planned.step;
  SWAGE_ASSIGN_OR_RETURN(const auto algorithm,
                         loader.algorithm(step.use, step.params, quoted(step)));
  const auto context = std::make_shared<Asked>(model.shape());
  outlive(context);
  const absl::Status status = call_plugin(site_of(algorithm.get(), "model_transform"),
                                          [&] { return algorithm->model_transform(*context); });
  if (!context->asked() && !status.ok()) return status;
  return context->asked();
}

}  // namespace

absl::StatusOr<bool> changes_ends(const std::vector<PlannedStep>& steps, const OpenedModel& model,
                                  Loader& loader) {
  for (const PlannedStep& planned : steps) {
    SWAGE_ASSIGN_OR_RETURN(const bool changes, changes_the_model(planned, model, loader));
    if (changes) return true;
  }
  return false;
}

absl::Status check_order(const std::vector<PlannedStep>& steps, const OpenedModel& model,
                         Loader& loader) {
  const Step* measures = nullptr;
  for (const PlannedStep& planned : steps) {
    if (measures != nullptr) {
      SWAGE_ASSIGN_OR_RETURN(const bool changes, changes_the_model(planned, model, loader));
      if (changes) {
        const std::string later = planned.step->name, earlier = measures->name;
        return with_exit_code(absl::InvalidArgumentError(absl::StrCat(
                                  planned.step->where.text(), ": step \"", later,
                                  "\" changes the whole model, ends "
                                  "included, and step \"",
                                  earlier,
                                  "\", which measures, comes before it: it would "
                                  "see activations in another basis than its weights; put \"",
                                  later, "\" before \"", earlier, "\"")),
                              ExitCode::kPipeline);
      }
    }
    if (planned.needs.stream() != Stream::kNone && measures == nullptr) measures = planned.step;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PlannedStep>> plan_steps(const Pipeline& pipeline,
                                                    const Catalog& catalog, Loader& loader) {
  std::vector<PlannedStep> planned;
  for (const Step& step : pipeline.steps) {
    PlannedStep next;
    next.step = &step;
    next.index = static_cast<int64_t>(planned.size());
    SWAGE_ASSIGN_OR_RETURN(const Catalog::Found found, catalog.find("algorithm", step.use));
    const Manifest& manifest = found.plugin->manifest;
    next.provenance = absl::StrCat(step.use, " (", manifest.id, " ", manifest.version, ")");
    SWAGE_ASSIGN_OR_RETURN(next.algorithm, loader.algorithm(step.use, step.params, quoted(step)));
    SWAGE_RETURN_IF_ERROR(settle_needs(next));
    planned.push_back(std::move(next));
  }
  // The last step on a stream leaves the next block's input. A compressed walk does so only when
  // nothing is changed after it.
  bool original_left = false;
  for (auto step = planned.rbegin(); step != planned.rend(); ++step) {
    if (step->needs.stream() == Stream::kOriginal && !original_left)
      step->leaves_output = original_left = true;
    if (step->needs.stream() == Stream::kCompressed && step == planned.rbegin())
      step->leaves_output = true;
  }
  return planned;
}

bool uses_stream(const std::vector<PlannedStep>& steps, Stream stream) {
  return std::any_of(steps.begin(), steps.end(),
                     [&](const PlannedStep& step) { return step.needs.stream() == stream; });
}

}  // namespace swage
