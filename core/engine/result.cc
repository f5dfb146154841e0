#include "core/engine/result.h"

#include <torch/headeronly/version.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/engine/file_digest.h"
#include "core/engine/run_record.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage {
namespace {

// Sums over everything that was committed.
struct Totals {
  Value::Table seconds;
  double cpu_seconds = 0;
  int64_t peak_host = 0, peak_device = 0, parameters = 0, parameter_bits = 0, model_bytes = 0;
  Value::List notes;
  Value::Table expert_tokens;

  void add(const std::string& key, const Value& figures) {
    if (figures.has("expert_tokens")) expert_tokens[key] = figures["expert_tokens"];
    if (const Value::Table* parts = figures["seconds"].table()) {
      for (const auto& [what, value] : *parts) {
        double now = 0, before = 0;
        value.number(&now);
        if (const auto known = seconds.find(what); known != seconds.end())
          known->second.number(&before);
        seconds[what] = before + now;
      }
    }
    cpu_seconds += figures.f64("cpu_seconds", 0);
    peak_host = std::max(peak_host, figures.i64("peak_host_bytes", 0));
    peak_device = std::max(peak_device, figures.i64("peak_device_bytes", 0));
    model_bytes += figures.i64("model_bytes", 0);
    parameters += figures.i64("parameters", 0);
    parameter_bits += figures.i64("parameter_bits", 0);
    if (const Value::List* lines = figures["notes"].list())
      notes.insert(notes.end(), lines->begin(), lines->end());
  }
};

// Linears of the model and their sums.
struct Linears {
  Value::List list;
  int64_t compressed = 0, kept = 0;
  int64_t compressed_weights = 0, compressed_bits = 0, kept_weights = 0, kept_bits = 0;

  void add(const LinearOutcome& outcome) {
    const int64_t weights = outcome.summary.out * outcome.summary.in;
    const bool is_kept = !outcome.summary.kept_by.empty();
    ++(is_kept ? kept : compressed);
    (is_kept ? kept_weights : compressed_weights) += weights;
    (is_kept ? kept_bits : compressed_bits) += outcome.bits;
    Value::Table entry = *to_value(outcome).table();
    entry["name"] = outcome.summary.name;
    list.push_back(Value(std::move(entry)));
  }
};

absl::StatusOr<Value::List> export_values(const Journal& journal, const Pipeline& pipeline) {
  Value::List exports;
  for (const ExportSpec& spec : pipeline.exports) {
    SWAGE_ASSIGN_OR_RETURN(const Value verified, journal.get("phase", "verify/" + spec.name));
    Value::Table entry = {{"use", spec.use}, {"name", spec.name}, {"path", spec.path}};
    const Value& verdict = verified["verdict"];
    for (const char* key :
         {"verdict", "windows", "why_no_windows", "window_difference", "linears_equal",
          "tensors_equal", "rounded", "float_inputs", "window_relative", "window_bound", "exact"}) {
      if (verdict.has(key)) entry[key] = verdict[key];
    }
    int64_t bytes = 0;
    std::error_code error;
    for (const auto& file : std::filesystem::directory_iterator(spec.path, error)) {
      if (file.is_regular_file()) bytes += static_cast<int64_t>(file.file_size());
    }
    entry["bytes"] = bytes;
    exports.push_back(Value(std::move(entry)));
  }
  return exports;
}

// Digests of everything that was read of the model, by file: of weights one over those of their
// tensors, which were taken while the run read them.
absl::StatusOr<Value> model_files(const Journal& journal, const Value& identity) {
  Value::Table files;
  if (const Value::Table* beside = identity["side_files"].table()) files = *beside;
  files["config.json and headers"] = identity["model"];
  SWAGE_ASSIGN_OR_RETURN(const auto shards, journal.all("shard"));
  for (const Journal::Entry& shard : shards)
    files[shard.key] = text_digest(to_json(shard.value["digests"]));
  return Value(std::move(files));
}

// What it was made with and of, and what was said before any work.
absl::Status add_origin(const Journal& journal, const Pipeline& pipeline, Value::Table* result,
                        Value::List* notes) {
  SWAGE_ASSIGN_OR_RETURN(const Value identity, journal.get("run", "identity"));
  SWAGE_ASSIGN_OR_RETURN(const Value command, journal.get("run", "command"));
  SWAGE_ASSIGN_OR_RETURN(const Value origin, journal.get("run", "origin"));
  SWAGE_ASSIGN_OR_RETURN(Value files, model_files(journal, identity));
  (*result)["versions"] = Value(Value::Table{
      {"swage", SWAGE_VERSION}, {"torch", TORCH_VERSION}, {"plugins", identity["plugins"]}});
  (*result)["started"] = origin["started"];
  (*result)["pipeline"] = pipeline.effective;
  (*result)["command"] = command;
  (*result)["model_digest"] = text_digest(to_json(files));
  (*result)["model_files"] = std::move(files);
  (*result)["data"] = origin["data"];
  if (const Value::List* lines = origin["notes"].list())
    notes->insert(notes->begin(), lines->begin(), lines->end());
  return absl::OkStatus();
}

// `swage eval` measures one checkpoint, which is neither the original nor the compressed one of a
// run. Programs that know the figures as those of an original find them there, too.
Value labelled(const Value& metrics, const std::string& verb) {
  if (verb != "eval" || metrics.table() == nullptr) return metrics;
  Value::Table all = *metrics.table();
  for (auto& [name, sides] : all) {
    if (!sides.has("original")) continue;
    Value::Table* const table = sides.table();
    (*table)["checkpoint"] = (*table)["original"];
  }
  return Value(std::move(all));
}

}  // namespace

absl::StatusOr<Value> make_result(const Journal& journal, const Pipeline& pipeline) {
  Totals totals;
  for (const char* kind : {"block", "phase"}) {
    SWAGE_ASSIGN_OR_RETURN(const auto entries, journal.all(kind));
    for (const Journal::Entry& entry : entries) totals.add(entry.key, entry.value);
  }
  Linears linears;
  SWAGE_ASSIGN_OR_RETURN(const auto outcomes, recorded_linears(journal));
  for (const LinearOutcome& outcome : outcomes) linears.add(outcome);
  SWAGE_ASSIGN_OR_RETURN(const Value evaluated, journal.get("phase", "evaluate"));
  SWAGE_ASSIGN_OR_RETURN(Value::List exports, export_values(journal, pipeline));

  const int64_t weights = linears.compressed_weights + linears.kept_weights;
  Value::Table origin;
  SWAGE_RETURN_IF_ERROR(add_origin(journal, pipeline, &origin, &totals.notes));
  Value::Table result = {
      {"model", pipeline.model_path},
      {"model_bytes", totals.model_bytes},
      {"metrics", labelled(evaluated["metrics"], origin["command"].str("verb", ""))},
      {"seconds", Value(totals.seconds)},
      {"cpu_seconds", totals.cpu_seconds},
      {"peak_bytes", Value::Table{{"host", totals.peak_host}, {"device", totals.peak_device}}},
      {"exports", std::move(exports)},
      {"linears", std::move(linears.list)},
      {"linears_compressed", linears.compressed},
      {"linears_kept", linears.kept},
      {"parameters", weights + totals.parameters},
      {"notes", std::move(totals.notes)}};
  result.merge(origin);
  if (!totals.expert_tokens.empty()) result["expert_tokens"] = std::move(totals.expert_tokens);
  if (linears.compressed_weights > 0) {
    result["bits_per_weight"] = static_cast<double>(linears.compressed_bits) /
                                static_cast<double>(linears.compressed_weights);
  }
  if (weights + totals.parameters > 0) {
    result["bits_per_weight_model"] =
        static_cast<double>(linears.compressed_bits + linears.kept_bits + totals.parameter_bits) /
        static_cast<double>(weights + totals.parameters);
  }
  return Value(std::move(result));
}

absl::Status write_result(const std::string& work, const Value& result) {
  return io::write_file_atomically((std::filesystem::path(work) / "result.json").string(),
                                   to_json(result) + "\n");
}

}  // namespace swage
