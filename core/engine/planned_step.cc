#include "core/engine/planned_step.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "swage/border.h"
#include "swage/status.h"

namespace swage {
namespace {

bool is_static(const Value& activation) {
  return activation.table() != nullptr && !activation.flag("dynamic", true);
}

bool has_static_activations(const Step& step) {
  return (step.activation && !step.activation->dynamic) ||
         std::any_of(step.overrides.begin(), step.overrides.end(),
                     [](const Override& override) { return is_static(override.activation); });
}

bool wants_statistics(const Needs& needs) {
  return needs.wants_hessian || needs.wants_absmax || needs.wants_mean_abs || needs.wants_range ||
         needs.sample_tokens > 0;
}

absl::Status settle_needs(PlannedStep& planned) {
  const Step& step = *planned.step;
  SWAGE_RETURN_IF_ERROR(guarded({step.use, "needs"}, [&] {
    planned.needs = planned.algorithm->needs();
    return absl::OkStatus();
  }));
  Needs& needs = planned.needs;
  if (wants_statistics(needs) && needs.stream == Stream::kNone) {
    return with_exit_code(
        absl::InternalError(absl::StrCat(step.use,
                                         ": asks for statistics without calibrate_on(), a bug of "
                                         "the plugin")),
        ExitCode::kPlugin);
  }
  if (has_static_activations(step)) {
    needs.range();
    if (needs.stream == Stream::kNone) needs.calibrate_on(Stream::kOriginal);
  }
  if (step.calibrate_on == "original") needs.calibrate_on(Stream::kOriginal);
  if (step.calibrate_on == "compressed") needs.calibrate_on(Stream::kCompressed);
  return absl::OkStatus();
}

}  // namespace

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
    SWAGE_ASSIGN_OR_RETURN(next.algorithm, loader.algorithm(step.use, step.params));
    SWAGE_RETURN_IF_ERROR(settle_needs(next));
    planned.push_back(std::move(next));
  }
  // The last step on a stream leaves the next block's input. A compressed walk does so only when
  // nothing is changed after it.
  bool original_left = false;
  for (auto step = planned.rbegin(); step != planned.rend(); ++step) {
    if (step->needs.stream == Stream::kOriginal && !original_left)
      step->leaves_output = original_left = true;
    if (step->needs.stream == Stream::kCompressed && step == planned.rbegin())
      step->leaves_output = true;
  }
  return planned;
}

bool uses_stream(const std::vector<PlannedStep>& steps, Stream stream) {
  return std::any_of(steps.begin(), steps.end(),
                     [&](const PlannedStep& step) { return step.needs.stream == stream; });
}

}  // namespace swage
