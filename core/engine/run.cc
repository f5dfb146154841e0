#include "core/engine/run.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/exit_codes.h"
#include "core/config/places.h"
#include "core/engine/config_text.h"
#include "core/engine/earlier.h"
#include "core/engine/process.h"
#include "core/engine/provenance.h"
#include "core/engine/result.h"
#include "core/engine/run_record.h"
#include "core/engine/side_file_digests.h"
#include "core/engine/sweep.h"
#include "core/engine/tied_ends.h"
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

// What has been written and read back once may be gone by the time the run goes on.
absl::Status still_there(const ExportSpec& spec) {
  std::error_code ignored;
  if (fs::is_directory(spec.path, ignored) && !fs::is_empty(spec.path, ignored))
    return absl::OkStatus();
  return with_exit_code(
      absl::DataLossError(
          absl::StrCat(spec.path,
                       ": the run wrote this export and it is gone; bring it back, or run again "
                       "with another work folder")),
      ExitCode::kVerdictFailed);
}

// The export that the new one replaced goes once the journal knows that this one is there.
absl::Status drop_replaced(ExportWriter& writer, const Journal& journal, Reporter& reporter) {
  SWAGE_ASSIGN_OR_RETURN(const Value replaced, journal.get("replaced", writer.spec().name));
  const std::string kept = writer.place().drop(replaced);
  if (!kept.empty()) reporter.warning(kept);
  return absl::OkStatus();
}

absl::Status write_export(RunSetup& setup, ExportWriter& writer, Journal& journal) {
  const std::string& name = writer.spec().name;
  const std::string key = "export/" + name;
  SWAGE_ASSIGN_OR_RETURN(const bool done, is_done(journal, "phase", key));
  // An export that is gone is written again as long as its parts are there.
  const absl::Status there = still_there(writer.spec());
  if (done && (there.ok() || !writer.has_parts())) return there;
  Stopwatch watch;
  RunRecord record;
  SWAGE_ASSIGN_OR_RETURN(const Value before, journal.get("folder", name));
  if (writer.place().is_published(before)) return record.commit(journal, "phase", key);
  SWAGE_ASSIGN_OR_RETURN(const std::string folder, writer.place().begin(before));
  SWAGE_ASSIGN_OR_RETURN(const Value identity, writer.place().identity());
  SWAGE_RETURN_IF_ERROR(
      journal.commit({{"folder", name, identity}, {"replaced", name, writer.place().replaced()}}));
  SWAGE_ASSIGN_OR_RETURN(const auto outcomes, recorded_linears(journal));
  std::vector<LinearSummary> linears;
  for (const LinearOutcome& outcome : outcomes) {
    const LinearSummary& linear = outcome.summary;
    if (linear.place == LinearPlace::kBlock || linear.kept_by.empty()) linears.push_back(linear);
  }
  add_own_head(setup, writer, &linears);
  SWAGE_ASSIGN_OR_RETURN(auto parts, recorded_files(journal, "parts/" + writer.spec().name));
  SWAGE_RETURN_IF_ERROR(writer.renew(*setup.loader));
  SWAGE_ASSIGN_OR_RETURN(const auto carried, writer.write_carried(*setup.model, &parts));
  record.stored(writer.spec().name, carried);
  SWAGE_RETURN_IF_ERROR(check_side_files(setup.model->checkpoint(), setup.side_files));
  SWAGE_RETURN_IF_ERROR(writer.finish(*setup.model, linears, parts, folder));
  SWAGE_RETURN_IF_ERROR(spell_config(setup.pipeline.model_path, folder));
  SWAGE_RETURN_IF_ERROR(write_provenance(journal, setup.pipeline, writer.spec(), folder));
  SWAGE_RETURN_IF_ERROR(write_export_record(folder));
  SWAGE_RETURN_IF_ERROR(writer.place().publish());
  record.seconds("export", watch.lap());
  return record.commit(journal, "phase", key);
}

// "2026-01-31T12:00:00Z"
std::string now_text() {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
}

// What result.json tells of how the run began: a resumed run then gives the same.
Value origin_of(const RunSetup& setup) {
  Value origin = setup.origin();
  (*origin.table())["started"] = now_text();
  return origin;
}

// The data a run works with, and what a user should know about it.
void tell_origin(const RunSetup& setup, Reporter& reporter) {
  for (const DrawnData& drawn : setup.drawn) reporter.note(text_of(drawn));
  for (const std::string& remark : setup.remarks) reporter.warning(remark);
}

// From here on the run is made by other plugins: the journal takes over which, and notes it.
absl::Status accept_plugins(Journal& journal, const Value& identity,
                            const std::vector<std::string>& changed) {
  SWAGE_ASSIGN_OR_RETURN(const auto blocks, journal.all("block"));
  const std::string key = absl::StrCat("plugins changed behind ", blocks.size(), " blocks");
  Value::List notes = {absl::StrCat(key, ": ", absl::StrJoin(changed, "; "))};
  return journal.commit({{"run", "identity", identity},
                         {"phase", key, Value(Value::Table{{"notes", std::move(notes)}})}});
}

}  // namespace

Value to_value(const RunCommand& command) {
  Value::Table table = {{"verb", command.verb},
                        {"folder", command.folder},
                        {"pipeline", command.pipeline},
                        {"sets", texts(command.sets)},
                        {"plugin_path", texts(command.plugin_path)}};
  if (command.overwrite) table["overwrite"] = true;
  if (!command.recipe.empty()) table["recipe"] = command.recipe;
  return Value(std::move(table));
}

RunCommand command_from(const Value& value) {
  RunCommand command;
  command.verb = value.str("verb", "run");
  command.folder = value.str("folder", "");
  command.pipeline = value.str("pipeline", "");
  command.recipe = value.str("recipe", "");
  command.sets = words(value["sets"]);
  command.plugin_path = words(value["plugin_path"]);
  command.overwrite = value.flag("overwrite", false);
  return command;
}

absl::StatusOr<LoadedPipeline> load_run(const RunCommand& command) {
  if (!command.recipe.empty()) {
    SWAGE_ASSIGN_OR_RETURN(const PipelineSource source,
                           read_recipe(command.recipe, command.pipeline, command.sets));
    return open_source(source, command.plugin_path);
  }
  if (command.verb != "eval")
    return open_pipeline(command.pipeline, command.sets, command.plugin_path);
  SWAGE_ASSIGN_OR_RETURN(const PipelineSource source,
                         read_evaluations(command.pipeline, command.sets));
  LoadedPipeline loaded;
  loaded.catalog = Catalog::scan(plugin_search_path(command.plugin_path, source.plugin_paths));
  SWAGE_ASSIGN_OR_RETURN(loaded.pipeline, check_pipeline(source, loaded.catalog));
  loaded.catalog.choose_adapter(loaded.pipeline.adapter);
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
  // A work folder goes on where it lies now.
  loaded.pipeline.run.work = journal.work();
  // The launcher knows of no threads but those of its own options.
  SWAGE_RETURN_IF_ERROR(use_threads(loaded.pipeline.run.threads));
  return set_up_run(std::move(loaded));
}

absl::Status check_room(const Pipeline& pipeline, bool overwrite) {
  if (!overwrite) return check_vacant(pipeline, nullptr);
  const Earlier earlier = {check_earlier_work, [](const std::string& folder) {
                             return EarlierExport::look(folder).status();
                           }};
  return check_vacant(pipeline, &earlier);
}

// What an earlier run left beside the exports, as its journal tells where there is one that can be
// read.
absl::Status clear_places(RunSetup& setup, bool overwrite) {
  const std::string& work = setup.pipeline.run.work;
  std::optional<Journal> earlier;
  if (overwrite && Journal::is_one(work)) {
    auto opened = Journal::open(work);
    if (absl::IsFailedPrecondition(opened.status())) return opened.status();  // at work
    if (opened.ok()) earlier = *std::move(opened);
  }
  for (ExportWriter& writer : setup.writers) {
    const std::string& name = writer.spec().name;
    Value unfinished, replaced;
    if (earlier) {
      SWAGE_ASSIGN_OR_RETURN(unfinished, earlier->get("folder", name));
      SWAGE_ASSIGN_OR_RETURN(replaced, earlier->get("replaced", name));
    }
    SWAGE_RETURN_IF_ERROR(writer.place().clear(unfinished, replaced));
  }
  return absl::OkStatus();
}

absl::StatusOr<Journal> start_journal(RunSetup& setup, const RunCommand& command) {
  // Earlier exports are looked at by their places, once.
  const Earlier earlier = {check_earlier_work, [](const std::string&) { return absl::OkStatus(); }};
  SWAGE_RETURN_IF_ERROR(check_vacant(setup.pipeline, command.overwrite ? &earlier : nullptr));
  for (ExportWriter& writer : setup.writers) {
    SWAGE_RETURN_IF_ERROR(
        annotate(writer.place().reserve(command.overwrite), writer.spec().where.text()));
  }
  SWAGE_RETURN_IF_ERROR(clear_places(setup, command.overwrite));
  if (command.overwrite) SWAGE_RETURN_IF_ERROR(Journal::discard(setup.pipeline.run.work));
  return Journal::create(setup.pipeline.run.work, {{"run", "command", to_value(command)},
                                                   {"run", "identity", setup.identity()},
                                                   {"run", "origin", origin_of(setup)}});
}

absl::Status compare_with_journal(const RunSetup& setup, Journal& journal,
                                  bool accept_plugin_change) {
  SWAGE_ASSIGN_OR_RETURN(const Value before, journal.get("run", "identity"));
  const Value now = setup.identity();
  const std::vector<std::string> changed = differences(before, now);
  if (changed.empty()) return absl::OkStatus();
  const bool only_plugins = changed.size() == differences(before["plugins"], now["plugins"]).size();
  if (only_plugins && accept_plugin_change) return accept_plugins(journal, now, changed);
  const std::string way_out =
      only_plugins ? absl::StrCat(
                         "; undo that, go on with the plugins as they are now (`swage "
                         "resume ",
                         journal.work(),
                         " --accept-plugin-change`), or start a new run with another "
                         "--work")
                   : "; undo that, or start a new run with another --work";
  return with_exit_code(absl::FailedPreconditionError(absl::StrCat(
                            journal.work(), ": the run cannot go on, since this has changed: ",
                            absl::StrJoin(changed, "; "), way_out)),
                        ExitCode::kPipeline);
}

absl::Status verify_exports(RunSetup& setup, Journal& journal, Reporter& reporter) {
  reporter.begin_phase("verify", static_cast<int64_t>(setup.writers.size()), 0);
  if (!setup.verification.empty()) {
    const absl::Status intact = check_file(journal, setup.verified_file());
    if (!intact.ok())
      return annotate(
          absl::DataLossError(absl::StrCat(intact.message(),
                                           "; put it back, or remove the work folder and run the "
                                           "pipeline again")),
          "exports cannot be verified");
  }
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
    SWAGE_RETURN_IF_ERROR(io::write_file_atomically((fs::path(spec.path) / kVerdictFile).string(),
                                                    to_json(to_value(verdict)) + "\n"));
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

// The places of exports that are still to be written.
absl::Status reserve_places(RunSetup& setup, const Journal& journal) {
  SWAGE_ASSIGN_OR_RETURN(const Value command, journal.get("run", "command"));
  for (ExportWriter& writer : setup.writers) {
    const std::string& name = writer.spec().name;
    SWAGE_ASSIGN_OR_RETURN(const bool done, is_done(journal, "phase", "export/" + name));
    SWAGE_ASSIGN_OR_RETURN(const Value folder, journal.get("folder", name));
    if (!done && !writer.place().is_published(folder))
      SWAGE_RETURN_IF_ERROR(writer.place().reserve(command_from(command).overwrite));
  }
  return absl::OkStatus();
}

// Of the weights: exports and the result tell them.
absl::Status complete_digests(RunSetup& setup, Journal& journal) {
  SWAGE_RETURN_IF_ERROR(setup.shards->complete());
  const auto news = setup.shards->news();
  return news.empty() ? absl::OkStatus() : journal.commit(news);
}

absl::Status execute(RunSetup& setup, Journal& journal, Reporter& reporter) {
  commits_go_to(journal.work());
  SWAGE_RETURN_IF_ERROR(setup.shards->take_up(journal));
  SWAGE_RETURN_IF_ERROR(reserve_places(setup, journal));
  tell_origin(setup, reporter);
  {
    Sweep sweep(setup, journal, reporter);
    SWAGE_RETURN_IF_ERROR(sweep.run());
    SWAGE_RETURN_IF_ERROR(evaluate(setup, sweep, journal, reporter));
  }
  if (!setup.writers.empty()) SWAGE_RETURN_IF_ERROR(complete_digests(setup, journal));
  for (ExportWriter& writer : setup.writers) {
    SWAGE_RETURN_IF_ERROR(write_export(setup, writer, journal));
    SWAGE_RETURN_IF_ERROR(drop_replaced(writer, journal, reporter));
    SWAGE_RETURN_IF_ERROR(interrupted());
  }
  if (!setup.writers.empty()) SWAGE_RETURN_IF_ERROR(verify_exports(setup, journal, reporter));
  SWAGE_RETURN_IF_ERROR(complete_digests(setup, journal));
  SWAGE_ASSIGN_OR_RETURN(const Value result, make_result(journal, setup.pipeline));
  SWAGE_RETURN_IF_ERROR(write_result(setup.pipeline.run.work, result));
  std::error_code ignored;  // hidden states are of no more use
  fs::remove(setup.state_file(static_cast<int64_t>(setup.model->blocks().size())), ignored);
  reporter.event("result", result);
  reporter.print(result_table(result, setup.pipeline.run.work));
  return absl::OkStatus();
}

absl::Status start_run(const RunCommand& command, const Reporter::Options& options,
                       bool replaces_earlier) {
  SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded, load_run(command));
  SWAGE_ASSIGN_OR_RETURN(const auto reporter, Reporter::create(options));
  SWAGE_ASSIGN_OR_RETURN(const auto setup, set_up_run(std::move(loaded)));
  if (replaces_earlier) SWAGE_RETURN_IF_ERROR(Journal::discard(setup->pipeline.run.work));
  SWAGE_ASSIGN_OR_RETURN(Journal journal, start_journal(*setup, command));
  return execute(*setup, journal, *reporter);
}

}  // namespace swage
