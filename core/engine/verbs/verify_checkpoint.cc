// `swage verify` of a checkpoint that no run of this machine need have made.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/base/plain_output.h"
#include "core/base/say_error.h"
#include "core/config/convert_recipe.h"
#include "core/engine/checkpoint_check.h"
#include "core/engine/evaluation.h"
#include "core/engine/outcome.h"
#include "core/engine/passage.h"
#include "core/engine/served_export.h"
#include "core/engine/verbs/verbs.h"
#include "core/serve/engine_search.h"
#include "swage/status.h"

namespace swage {
namespace {

absl::StatusOr<OpenedModel> open_whole(const std::string& path, const Catalog& catalog,
                                       Loader& loader) {
  SWAGE_ASSIGN_OR_RETURN(OpenedModel model,
                         OpenedModel::open(path, catalog, loader, {}, OpenedModel::Compare::kWhole,
                                           OpenedModel::Use::kMeasure));
  SWAGE_RETURN_IF_ERROR(model.check_whole());
  return model;
}

absl::StatusOr<Value> perplexity_on(const std::string& text, const OpenedModel& model,
                                    const Catalog& catalog, Loader& loader, Reporter& reporter) {
  SWAGE_ASSIGN_OR_RETURN(
      const PipelineSource source,
      read_recipe(evaluation_recipe(model.checkpoint().path(), text), "swage verify", {}));
  SWAGE_ASSIGN_OR_RETURN(const Pipeline pipeline, check_pipeline(source, catalog));
  SWAGE_ASSIGN_OR_RETURN(
      Evaluation evaluation,
      Evaluation::prepare(pipeline.evaluates, model, loader, model.quantized() ? 1 : 0));
  const View view = model.quantized() ? View::kCompressed : View::kFloat;
  SWAGE_ASSIGN_OR_RETURN(const auto head, model.load_head());
  for (size_t i = 0; i < evaluation.sets().size(); ++i) {
    TokenStream stream;
    stream.name = "text";
    stream.sequences = &evaluation.sets()[i].sequences;
    SWAGE_RETURN_IF_ERROR(pass_through(model, view, stream, [&](const BlockId& id) {
      reporter.at(absl::StrCat("text: ", text_of(id)), 0);
    }));
    SWAGE_RETURN_IF_ERROR(
        evaluation.consume(i, model.adapter_name(), {&stream, head.get()}, {}, reporter));
  }
  SWAGE_ASSIGN_OR_RETURN(const Value metrics, evaluation.report());
  return metrics["perplexity"]["original"];
}

// The engine of --serve; none where it is absent.
absl::StatusOr<std::optional<ServeSpec>> engine_of(const Arguments& arguments,
                                                   const Catalog& catalog) {
  if (arguments.serve.empty()) return std::optional<ServeSpec>();
  ServeSpec spec;
  const Formats formats(catalog);
  SWAGE_ASSIGN_OR_RETURN(EngineProfile engine,
                         find_engine(arguments.serve, engine_search_path(catalog), &formats));
  spec.engine = std::make_shared<const EngineProfile>(std::move(engine));
  spec.serving.tensor_parallel = arguments.tensor_parallel.value_or(1);
  if (!arguments.served_on.empty()) {
    SWAGE_ASSIGN_OR_RETURN(spec.serving.device, parse_device(arguments.served_on));
  }
  return std::optional<ServeSpec>(std::move(spec));
}

absl::Status check_engine(const ServeSpec& serve, const OpenedModel& model, const Catalog& catalog,
                          CheckpointVerdict* verdict) {
  if (!model.quantized()) {
    verdict->warnings.push_back(absl::StrCat(serve.engine->engine,
                                             ": nothing was asked, since the checkpoint holds "
                                             "floats, of which profiles do not tell"));
    return absl::OkStatus();
  }
  SWAGE_ASSIGN_OR_RETURN(const auto reader, catalog.find_reader(model.form().method));
  SWAGE_ASSIGN_OR_RETURN(const auto linears, planned_linears(Pipeline(), model));
  for (std::string& problem : serve_problems(serve, reader.component->name, linears, model)) {
    verdict->problems.push_back(std::move(problem));
    verdict->served = false;
  }
  return absl::OkStatus();
}

Value report(const OpenedModel& model, const CheckpointVerdict& verdict, const Arguments& arguments,
             const Value& metrics) {
  Value::Table table = {
      {"path", model.checkpoint().path()},
      {"adapter", model.adapter_name()},
      {"compressed", model.quantized() ? Value(model.form().name) : Value()},
      {"linears_compressed", verdict.compressed},
      {"linears_kept", verdict.kept},
      {"files", verdict.files},
      {"metrics", metrics},
      {"serve", arguments.serve.empty() ? Value() : Value(arguments.serve)},
      {"served", arguments.serve.empty() || !model.quantized() ? Value() : Value(verdict.served)},
      {"warnings", Value::List(verdict.warnings.begin(), verdict.warnings.end())}};
  if (!arguments.against.empty()) {
    const CheckpointVerdict::Against& against = verdict.against;
    table["against"] = Value(Value::Table{{"path", arguments.against},
                                          {"tensors_equal", against.equal},
                                          {"tensors_rounded", against.rounded},
                                          {"linears", against.linears},
                                          {"mean_error", against.mean_error},
                                          {"worst_error", against.worst_error},
                                          {"worst", against.worst}});
  }
  return Value(std::move(table));
}

void print(const Value& report) {
  const auto line = [](const char* label, const std::string& text) {
    absl::PrintF("  %-11s %s\n", label, text);
  };
  absl::PrintF("%s\n", report.str("path", ""));
  if (report.has("compressed")) line("form", report.str("compressed", ""));
  line("linears", absl::StrCat(report.i64("linears_compressed", 0), " decode, ",
                               report.i64("linears_kept", 0), " in floats"));
  if (report.has("served"))
    line("engine",
         absl::StrCat(report.str("serve", ""), report.flag("served", false)
                                                   ? " takes these schemes, sizes and names"
                                                   : " refuses it"));
  if (report.i64("files", 0) > 0)
    line("files", absl::StrCat(report.i64("files", 0), " compared with swage_export.json"));
  if (const Value& against = report["against"]; !against.is_null()) {
    line("against", absl::StrCat(against.str("path", ""), ": ", against.i64("tensors_equal", 0),
                                 " tensors equal"));
    if (against.i64("linears", 0) > 0)
      line("", absl::StrFormat("relative error of linears %.4g, worst %.4g (%s)",
                               against.f64("mean_error", 0), against.f64("worst_error", 0),
                               against.str("worst", "")));
  }
  double perplexity = 0;
  if (report["metrics"]["perplexity"].number(&perplexity))
    line("perplexity", absl::StrFormat("%.6g", perplexity));
  for (const Value& warning : *report["warnings"].list()) line("warning", *warning.text());
}

absl::Status failed(const CheckpointVerdict& verdict, const std::string& path) {
  if (verdict.ok()) return absl::OkStatus();
  constexpr size_t kShown = 20;
  const size_t count = verdict.problems.size(), shown = std::min(count, kShown);
  return with_exit_code(
      absl::DataLossError(
          absl::StrCat(path, ": ",
                       absl::StrJoin(verdict.problems.begin(), verdict.problems.begin() + shown,
                                     absl::StrCat("\n", path, ": ")),
                       count > shown ? absl::StrCat("\nand ", count - shown, " more") : "")),
      ExitCode::kVerdictFailed);
}

}  // namespace

absl::Status verify_checkpoint(const Arguments& arguments) {
  Catalog catalog = Catalog::scan(plugin_search_path(arguments.plugin_path, {}));
  SWAGE_RETURN_IF_ERROR(choose_adapter(arguments, &catalog));
  Loader loader(catalog);
  SWAGE_ASSIGN_OR_RETURN(const auto reporter,
                         Reporter::create({"", arguments.quiet || arguments.json}));
  const auto engine = engine_of(arguments, catalog);
  SWAGE_RETURN_IF_ERROR(with_exit_code(engine.status(), ExitCode::kUsage));
  CheckpointVerdict verdict;
  SWAGE_ASSIGN_OR_RETURN(const OpenedModel model, open_whole(arguments.target, catalog, loader));
  reporter->begin_phase("verify", 1, 0);
  SWAGE_RETURN_IF_ERROR(check_checkpoint(model, *reporter, &verdict));
  if (*engine) SWAGE_RETURN_IF_ERROR(check_engine(**engine, model, catalog, &verdict));
  if (!arguments.against.empty()) {
    SWAGE_ASSIGN_OR_RETURN(const OpenedModel original,
                           open_whole(arguments.against, catalog, loader));
    SWAGE_RETURN_IF_ERROR(
        check_against(model, original, catalog.storage_keys(), *reporter, &verdict));
  }
  Value metrics;
  if (!arguments.sample.empty() && verdict.ok()) {
    SWAGE_ASSIGN_OR_RETURN(metrics,
                           perplexity_on(arguments.sample, model, catalog, loader, *reporter));
  }
  reporter->end_phase();
  reporter->finish();
  const Value told = report(model, verdict, arguments, metrics);
  const absl::Status status = failed(verdict, arguments.target);
  if (!arguments.json) {
    if (!arguments.quiet) print(told);
    return status;
  }
  Value::Table all = *problems_value(status, "").table();
  all.insert(told.table()->begin(), told.table()->end());
  print_json(to_json(Value(std::move(all))));
  return as_told(status);
}

}  // namespace swage
