#include <filesystem>

#include "absl/strings/str_format.h"
#include "core/base/bytes.h"
#include "core/cli/verbs.h"
#include "core/config/model_check.h"
#include "core/config/pipeline.h"
#include "swage/status.h"

namespace swage {
namespace {

void print_model(const Pipeline& pipeline, const Catalog& catalog) {
  const auto model = outline_model(pipeline.model_path, catalog);
  if (!model.ok()) return;  // a GGUF file, judged when the run opens it
  absl::PrintF("  model     %s: %d linears, %.4g million parameters, %s\n", model->adapter,
               model->linears.size(), static_cast<double>(model->parameters) / 1e6,
               bytes_to_text(model->bytes));
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
  SWAGE_ASSIGN_OR_RETURN(const LoadedPipeline loaded,
                         open_pipeline(arguments.pipeline, arguments.sets, arguments.plugin_path));
  absl::PrintF("%s holds\n", arguments.pipeline);
  print_model(loaded.pipeline, loaded.catalog);
  print_steps(loaded.pipeline);
  for (const EvaluateSpec& spec : loaded.pipeline.evaluates)
    absl::PrintF("  evaluate  %s\n", spec.name);
  for (const ExportSpec& spec : loaded.pipeline.exports)
    absl::PrintF("  export    %s: %s\n", spec.name, spec.path);
  absl::PrintF("  work      %s\n", loaded.pipeline.run.work);
  return absl::OkStatus();
}

}  // namespace swage
