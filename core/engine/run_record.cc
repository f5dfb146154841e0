#include "core/engine/run_record.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/engine/file_digest.h"
#include "core/engine/process.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "file";

// As the journal names it, wherever the work folder lies now.
std::string key_of(const std::string& work, const std::string& path) {
  const fs::path folder = (fs::path(work) / "x").lexically_normal().parent_path();
  return fs::path(path).lexically_normal().lexically_relative(folder).string();
}

}  // namespace

void RunRecord::linear(const LinearOutcome& outcome) {
  entries_.push_back({"linear", outcome.summary.name, to_value(outcome)});
}

void RunRecord::stored(const std::string& export_name, const std::vector<StoredItem>& items) {
  for (const StoredItem& item : items) {
    entries_.push_back({"stored", absl::StrCat(export_name, "/", item.name),
                        Value(Value::Table{{"export", export_name},
                                           {"name", item.name},
                                           {"is_linear", item.is_linear},
                                           {"digest", item.digest},
                                           {"values", item.values},
                                           {"as_bfloat16", item.as_bfloat16},
                                           {"as_half", item.as_half},
                                           {"from_one", item.from_one},
                                           {"input", item.input}})});
  }
}

void RunRecord::parameters(int64_t count, int64_t bits) {
  parameters_ += count;
  bits_ += bits;
}

void RunRecord::parameter(const Parameter& parameter) {
  const int64_t count = parameter.value.numel();
  parameters(count, count * static_cast<int64_t>(c10::elementSize(parameter.storage)) * 8);
}

void RunRecord::notes(const std::vector<std::string>& lines) {
  notes_.insert(notes_.end(), lines.begin(), lines.end());
}

absl::Status RunRecord::file(const std::string& work, const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(std::string digest, file_digest(path));
  entries_.push_back(
      {kFile, key_of(work, path), Value(Value::Table{{"digest", std::move(digest)}})});
  return absl::OkStatus();
}

void RunRecord::add(std::vector<Journal::Entry> entries) {
  std::move(entries.begin(), entries.end(), std::back_inserter(entries_));
}

void RunRecord::seconds(const std::string& what, const Stopwatch::Reading& reading) {
  double before = 0;
  if (const auto known = seconds_.find(what); known != seconds_.end())
    known->second.number(&before);
  seconds_[what] = before + reading.seconds;
  cpu_seconds_ += reading.cpu_seconds;
}

absl::Status RunRecord::commit(Journal& journal, const std::string& kind, const std::string& key) {
  figures_["seconds"] = Value(seconds_);
  figures_["cpu_seconds"] = cpu_seconds_;
  figures_["peak_host_bytes"] = peak_host_bytes();
  figures_["parameters"] = parameters_;
  figures_["parameter_bits"] = bits_;
  figures_["notes"] = Value(notes_);
  entries_.push_back({kind, key, Value(figures_)});
  return journal.commit(entries_);
}

absl::StatusOr<std::vector<LinearOutcome>> recorded_linears(const Journal& journal) {
  SWAGE_ASSIGN_OR_RETURN(const auto entries, journal.all("linear"));
  std::vector<LinearOutcome> outcomes;
  for (const Journal::Entry& entry : entries) {
    SWAGE_ASSIGN_OR_RETURN(LinearOutcome outcome, outcome_from(entry.key, entry.value));
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

absl::StatusOr<std::vector<StoredItem>> recorded_items(const Journal& journal,
                                                       const std::string& export_name) {
  SWAGE_ASSIGN_OR_RETURN(const auto entries, journal.all("stored"));
  std::vector<StoredItem> items;
  for (const Journal::Entry& entry : entries) {
    const Value& value = entry.value;
    if (value.str("export", "") != export_name) continue;
    items.push_back({value.str("name", ""), value.flag("is_linear", false), value.str("digest", ""),
                     value.str("values", ""), value.str("as_bfloat16", ""),
                     value.str("as_half", ""), value.str("input", ""), value.str("from_one", "")});
  }
  return items;
}

absl::StatusOr<std::vector<std::string>> recorded_files(const Journal& journal,
                                                        const std::string& folder) {
  SWAGE_ASSIGN_OR_RETURN(const auto entries, journal.all(kFile));
  std::vector<std::string> files;
  for (const Journal::Entry& entry : entries) {
    if (absl::StartsWith(entry.key, folder + "/"))
      files.push_back((fs::path(journal.work()) / entry.key).string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

absl::Status check_file(const Journal& journal, const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(const Value recorded, journal.get(kFile, key_of(journal.work(), path)));
  const auto found = file_digest(path);
  if (!found.ok()) return absl::DataLossError(found.status().message());
  if (*found == recorded.str("digest", "")) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, ": is not what the run wrote (digest ", *found,
                                          ", expected ", recorded.str("digest", "none"), ")"));
}

absl::StatusOr<bool> is_done(const Journal& journal, const std::string& kind,
                             const std::string& key) {
  SWAGE_ASSIGN_OR_RETURN(const Value value, journal.get(kind, key));
  return !value.is_null();
}

}  // namespace swage
