#include "core/engine/run.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/engine/process.h"
#include "core/engine/result.h"
#include "core/engine/run_record.h"
#include "core/engine/sweep.h"
#include "core/engine/verdict.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

Value texts(const std::vector<std::string>& words) {
  return Value(Value::List(words.begin(), words.end()));
}

std::vector<std::string> words(const Value& value) {
  std::vector<std::string> all;
  if (value.list() == nullptr) return all;
  for (const Value& item : *value.list()) all.push_back(item.text() ? *item.text() : "");
  return all;
}

absl::Status evaluate(RunSetup& setup, Sweep& sweep, Journal& journal, Reporter& reporter) {
  SWAGE_ASSIGN_OR_RETURN(const bool done, is_done(journal, "phase", "evaluate"));
  if (done) return absl::OkStatus();
  Stopwatch watch;
  RunRecord record;
  Evaluation& evaluation = *setup.evaluation;
  if (!evaluation.empty()) {
    const auto count = static_cast<int64_t>(evaluation.sets().size());
    reporter.begin_phase("evaluate", count, 0);
    const auto transformed = sweep.ends().head(true);
    SWAGE_RETURN_IF_ERROR(transformed.status());
    std::shared_ptr<Head> loaded = *transformed;
    if (sweep.ends().head_transformed()) {
      SWAGE_ASSIGN_OR_RETURN(loaded, sweep.ends().head(false));
    }
    for (size_t i = 0; i < evaluation.sets().size(); ++i) {
      const SequenceSet& sequences = evaluation.sets()[i].sequences;
      const Evaluation::Side original = {sweep.find(Role::kReference, sequences), loaded.get()};
      const Evaluation::Side compressed = {sweep.find(Role::kCompressed, sequences),
                                           transformed->get()};
      SWAGE_RETURN_IF_ERROR(
          evaluation.consume(i, setup.model->adapter_name(), original, compressed, reporter));
      reporter.unit_done("evaluation", Value(Value::Table{}));
    }
    reporter.end_phase();
  }
  SWAGE_ASSIGN_OR_RETURN(Value metrics, evaluation.report());
  record.set("metrics", std::move(metrics));
  record.seconds("evaluate", watch.lap());
  return record.commit(journal, "phase", "evaluate");
}

absl::Status write_export(RunSetup& setup, ExportWriter& writer, Journal& journal) {
  const std::string key = "export/" + writer.spec().name;
  SWAGE_ASSIGN_OR_RETURN(const bool done, is_done(journal, "phase", key));
  // An export that is gone is written again as long as its parts are there.
  if (done && (fs::exists(writer.spec().path) || !writer.has_parts())) return absl::OkStatus();
  Stopwatch watch;
  RunRecord record;
  SWAGE_ASSIGN_OR_RETURN(const auto outcomes, recorded_linears(journal));
  std::vector<LinearSummary> linears;
  for (const LinearOutcome& outcome : outcomes) linears.push_back(outcome.summary);
  SWAGE_ASSIGN_OR_RETURN(const auto carried, writer.write_carried(*setup.model));
  record.stored(writer.spec().name, carried);
  SWAGE_RETURN_IF_ERROR(writer.finish(*setup.model, linears));
  record.seconds("export", watch.lap());
  return record.commit(journal, "phase", key);
}

}  // namespace

Value to_value(const RunCommand& command) {
  return Value(Value::Table{{"verb", command.verb},
                            {"folder", command.folder},
                            {"pipeline", command.pipeline},
                            {"sets", texts(command.sets)},
                            {"plugin_path", texts(command.plugin_path)}});
}

RunCommand command_from(const Value& value) {
  return {value.str("verb", "run"), value.str("folder", ""), value.str("pipeline", ""),
          words(value["sets"]), words(value["plugin_path"])};
}

absl::StatusOr<LoadedPipeline> load_run(const RunCommand& command) {
  if (command.verb != "eval")
    return open_pipeline(command.pipeline, command.sets, command.plugin_path);
  SWAGE_ASSIGN_OR_RETURN(const PipelineSource source,
                         read_evaluations(command.pipeline, command.sets));
  LoadedPipeline loaded;
  loaded.catalog = Catalog::scan(plugin_search_path(command.plugin_path, source.plugin_paths));
  SWAGE_ASSIGN_OR_RETURN(loaded.pipeline, check_pipeline(source, loaded.catalog));
  return loaded;
}

absl::StatusOr<std::unique_ptr<RunSetup>> reopen_run(const Journal& journal,
                                                     std::optional<int64_t> threads,
                                                     std::optional<int64_t> micro_batch) {
  SWAGE_ASSIGN_OR_RETURN(const Value stored, journal.get("run", "command"));
  RunCommand command = command_from(stored);
  std::error_code error;
  fs::current_path(command.folder, error);
  if (error) {
    return absl::NotFoundError(absl::StrCat("the run was started in ", command.folder,
                                            ", which cannot be entered (", error.message(), ")"));
  }
  if (threads) command.sets.push_back(absl::StrCat("run.threads=", *threads));
  if (micro_batch) command.sets.push_back(absl::StrCat("run.micro_batch=", *micro_batch));
  SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded, load_run(command));
  // The launcher knows of no threads but those of its own options.
  const int64_t count = loaded.pipeline.run.threads;
  if (count > 0) at::set_num_threads(static_cast<int>(count));
  return set_up_run(std::move(loaded));
}

absl::Status check_places(const RunSetup& setup) {
  for (const ExportSpec& spec : setup.pipeline.exports) {
    std::error_code ignored;
    if (!fs::exists(spec.path) || fs::is_empty(spec.path, ignored)) continue;
    return with_exit_code(
        absl::AlreadyExistsError(absl::StrCat(spec.where.text(), ": \"", spec.path,
                                              "\" exists already; remove it, or name another "
                                              "path (--set export.",
                                              spec.name, ".path=…)")),
        ExitCode::kPipeline);
  }
  return absl::OkStatus();
}

absl::StatusOr<Journal> start_journal(const RunSetup& setup, const RunCommand& command) {
  SWAGE_RETURN_IF_ERROR(check_places(setup));
  return Journal::create(setup.pipeline.run.work, {{"run", "command", to_value(command)},
                                                   {"run", "identity", setup.identity()}});
}

absl::Status compare_with_journal(const RunSetup& setup, const Journal& journal) {
  SWAGE_ASSIGN_OR_RETURN(const Value before, journal.get("run", "identity"));
  const std::vector<std::string> changed = differences(before, setup.identity());
  if (changed.empty()) return absl::OkStatus();
  return with_exit_code(
      absl::FailedPreconditionError(absl::StrCat(
          journal.work(), ": the run cannot go on, since this has changed: ",
          absl::StrJoin(changed, "; "), "; undo that, or start a new run with another --work")),
      ExitCode::kPipeline);
}

absl::Status verify_exports(RunSetup& setup, Journal& journal, Reporter& reporter) {
  reporter.begin_phase("verify", static_cast<int64_t>(setup.writers.size()), 0);
  std::vector<std::string> failed;
  for (ExportWriter& writer : setup.writers) {
    const ExportSpec& spec = writer.spec();
    const std::string key = "verify/" + spec.name;
    SWAGE_ASSIGN_OR_RETURN(const bool done, is_done(journal, "phase", key));
    if (!fs::exists(spec.path)) {
      failed.push_back(absl::StrCat(spec.path,
                                    ": the export is gone, and with it what the run "
                                    "wrote; start a new run with another --work"));
      continue;
    }
    Stopwatch watch;
    RunRecord record;
    SWAGE_ASSIGN_OR_RETURN(const auto items, recorded_items(journal, spec.name));
    SWAGE_ASSIGN_OR_RETURN(const Verdict verdict, verify_export(setup, writer, items, reporter));
    SWAGE_RETURN_IF_ERROR(io::write_file_atomically(
        (fs::path(spec.path) / "swage_verdict.json").string(), to_json(to_value(verdict)) + "\n"));
    if (verdict.ok()) {
      record.set("verdict", to_value(verdict));
      record.seconds("verify", watch.lap());
      if (!done) SWAGE_RETURN_IF_ERROR(record.commit(journal, "phase", key));
      writer.drop_parts();
    } else {
      const size_t shown = std::min<size_t>(verdict.differences.size(), 5);
      failed.push_back(absl::StrCat(
          spec.path, ": ", verdict.differences.size(), " differences to what the run computed: ",
          absl::StrJoin(verdict.differences.begin(), verdict.differences.begin() + shown, "; "),
          verdict.differences.size() > shown ? "; …" : ""));
    }
    reporter.unit_done(absl::StrCat("export ", spec.name, " read back"), to_value(verdict));
    SWAGE_RETURN_IF_ERROR(interrupted());
  }
  reporter.end_phase();
  if (failed.empty()) return absl::OkStatus();
  return with_exit_code(absl::DataLossError(absl::StrJoin(failed, "\n")), ExitCode::kVerdictFailed);
}

absl::Status execute(RunSetup& setup, Journal& journal, Reporter& reporter) {
  {
    Sweep sweep(setup, journal, reporter);
    SWAGE_RETURN_IF_ERROR(sweep.run());
    SWAGE_RETURN_IF_ERROR(evaluate(setup, sweep, journal, reporter));
  }
  for (ExportWriter& writer : setup.writers) {
    SWAGE_RETURN_IF_ERROR(write_export(setup, writer, journal));
    SWAGE_RETURN_IF_ERROR(interrupted());
  }
  if (!setup.writers.empty()) SWAGE_RETURN_IF_ERROR(verify_exports(setup, journal, reporter));
  SWAGE_ASSIGN_OR_RETURN(const Value result, make_result(journal, setup.pipeline));
  SWAGE_RETURN_IF_ERROR(write_result(setup.pipeline.run.work, result));
  std::error_code ignored;  // hidden states are of no more use
  fs::remove(setup.state_file(static_cast<int64_t>(setup.model->blocks().size())), ignored);
  reporter.event("result", result);
  reporter.finish();
  std::fputs(result_table(result, setup.pipeline.run.work).c_str(), stdout);
  return absl::OkStatus();
}

absl::Status start_run(const RunCommand& command, const Reporter::Options& options) {
  SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded, load_run(command));
  SWAGE_ASSIGN_OR_RETURN(const auto reporter, Reporter::create(options));
  SWAGE_ASSIGN_OR_RETURN(const auto setup, set_up_run(std::move(loaded)));
  SWAGE_ASSIGN_OR_RETURN(Journal journal, start_journal(*setup, command));
  return execute(*setup, journal, *reporter);
}

}  // namespace swage
