#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/bytes.h"
#include "core/base/log.h"
#include "core/base/plain_output.h"
#include "core/engine/codec_book.h"
#include "core/engine/run.h"
#include "core/engine/verbs/verbs.h"
#include "swage/status.h"

namespace swage {
namespace {

// A scheme that no codec holds was refused before.
std::string text_of(const Scheme& scheme) { return (*codec_of(scheme))->describe(); }

std::string weight_text(const Step& step) {
  if (step.mix == nullptr) return step.takes_weight ? text_of(step.weight) : "";
  std::map<std::string, int64_t> linears;
  for (const auto& [linear, scheme] : step.mixed) ++linears[text_of(scheme)];
  std::vector<std::string> parts;
  for (const auto& [text, count] : linears) parts.push_back(absl::StrCat(count, " ", text));
  return absl::StrCat(step.mix->name, " (", absl::StrJoin(parts, ", "), ")");
}

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
    std::string text = weight_text(step);
    if (step.activation) text += (text.empty() ? "" : ", ") + text_of(*step.activation);
    absl::PrintF("  step      %s%s%s\n", step.name, text.empty() ? "" : ": ", text);
  }
}

void print(const RunSetup& setup) {
  const Pipeline& pipeline = setup.pipeline;
  absl::PrintF("%s holds\n", pipeline.file);
  print_model(*setup.model);
  print_steps(pipeline);
  for (const DrawnData& drawn : setup.drawn) absl::PrintF("  data      %s\n", text_of(drawn));
  for (const std::string& remark : setup.remarks) log_warning(remark);
  for (const EvaluateSpec& spec : pipeline.evaluates) absl::PrintF("  evaluate  %s\n", spec.name);
  for (const ExportSpec& spec : pipeline.exports)
    absl::PrintF("  export    %s: %s\n", spec.name, spec.path);
  absl::PrintF("  work      %s\n", pipeline.run.work);
}

Value model_value(const OpenedModel& model, const std::string& path) {
  const ModelOutline& outline = model.outline();
  return Value(Value::Table{{"path", path},
                            {"adapter", outline.adapter},
                            {"linears", static_cast<int64_t>(outline.linears.size())},
                            {"parameters", outline.parameters},
                            {"bytes", outline.bytes},
                            {"carried", static_cast<int64_t>(model.ledger().carried.size())}});
}

// The same for programs; docs/cli.md names every key.
Value report(const RunSetup& setup) {
  const Pipeline& pipeline = setup.pipeline;
  Value::List steps, evaluates, exports;
  for (const Step& step : pipeline.steps) {
    const std::string weight = weight_text(step);
    steps.push_back(Value(Value::Table{
        {"name", step.name},
        {"use", step.use},
        {"weight", weight.empty() ? Value() : Value(weight)},
        {"activation", step.activation ? Value(text_of(*step.activation)) : Value()}}));
  }
  for (const EvaluateSpec& spec : pipeline.evaluates)
    evaluates.push_back(Value(Value::Table{{"name", spec.name}, {"use", spec.use}}));
  for (const ExportSpec& spec : pipeline.exports)
    exports.push_back(
        Value(Value::Table{{"name", spec.name}, {"use", spec.use}, {"path", spec.path}}));
  return Value(Value::Table{{"ok", true},
                            {"exit_code", 0},
                            {"problems", Value::List{}},
                            {"warnings", Value::List(setup.remarks.begin(), setup.remarks.end())},
                            {"pipeline", pipeline.effective},
                            {"model", model_value(*setup.model, pipeline.model_path)},
                            {"steps", std::move(steps)},
                            {"data", setup.origin()["data"]},
                            {"evaluate", std::move(evaluates)},
                            {"export", std::move(exports)},
                            {"work", pipeline.run.work}});
}

}  // namespace

absl::Status check(const Arguments& arguments) {
  SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded,
                         open_pipeline(arguments.pipeline, arguments.sets, arguments.plugin_path));
  SWAGE_RETURN_IF_ERROR(check_room(loaded.pipeline, arguments.overwrite));
  SWAGE_ASSIGN_OR_RETURN(const auto setup,
                         set_up_run(std::move(loaded), OpenedModel::Compare::kSampled));
  if (arguments.json)
    print_json(to_json(report(*setup)));
  else
    print(*setup);
  return absl::OkStatus();
}

}  // namespace swage
