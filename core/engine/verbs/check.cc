#include <filesystem>

#include "absl/strings/str_format.h"
#include "core/base/bytes.h"
#include "core/base/log.h"
#include "core/config/places.h"
#include "core/engine/run.h"
#include "core/engine/verbs/verbs.h"
#include "swage/status.h"

namespace swage {
namespace {

void print_model(const OpenedModel& model) {
  const ModelOutline& outline = model.outline();
  absl::PrintF("  model     %s: %d linears, %.4g million parameters, %s\n", outline.adapter,
               outline.linears.size(), static_cast<double>(outline.parameters) / 1e6,
               bytes_to_text(outline.bytes));
  if (!model.ledger().carried.empty())
    absl::PrintF("  carried   %s\n", carried_text(model.ledger()));
}

void print_steps(const Pipeline& pipeline) {
  for (const Step& step : pipeline.steps) {
    std::string text =
        step.takes_weight && (step.weight_given || !step.activation) ? describe(step.weight) : "";
    if (step.activation) text += (text.empty() ? "" : ", ") + describe(*step.activation);
    absl::PrintF("  step      %s%s%s\n", step.name, text.empty() ? "" : ": ", text);
  }
}

}  // namespace

absl::Status check(const Arguments& arguments) {
  SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded,
                         open_pipeline(arguments.pipeline, arguments.sets, arguments.plugin_path));
  SWAGE_RETURN_IF_ERROR(check_vacant(loaded.pipeline));
  SWAGE_ASSIGN_OR_RETURN(const auto setup,
                         set_up_run(std::move(loaded), OpenedModel::Compare::kSampled));
  const Pipeline& pipeline = setup->pipeline;
  absl::PrintF("%s holds\n", arguments.pipeline);
  print_model(*setup->model);
  print_steps(pipeline);
  for (const DrawnData& drawn : setup->drawn) absl::PrintF("  data      %s\n", text_of(drawn));
  for (const std::string& remark : setup->remarks) log_warning(remark);
  for (const EvaluateSpec& spec : pipeline.evaluates) absl::PrintF("  evaluate  %s\n", spec.name);
  for (const ExportSpec& spec : pipeline.exports)
    absl::PrintF("  export    %s: %s\n", spec.name, spec.path);
  absl::PrintF("  work      %s\n", pipeline.run.work);
  return absl::OkStatus();
}

}  // namespace swage
