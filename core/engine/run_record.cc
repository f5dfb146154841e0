#include "core/engine/run_record.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/engine/process.h"
#include "swage/status.h"

namespace swage {

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
                                           {"input", item.input}})});
  }
}

void RunRecord::parameters(int64_t count, int64_t bits) {
  parameters_ += count;
  bits_ += bits;
}

void RunRecord::notes(const std::vector<std::string>& lines) {
  notes_.insert(notes_.end(), lines.begin(), lines.end());
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
                     value.str("as_half", ""), value.str("input", "")});
  }
  return items;
}

absl::StatusOr<bool> is_done(const Journal& journal, const std::string& kind,
                             const std::string& key) {
  SWAGE_ASSIGN_OR_RETURN(const Value value, journal.get(kind, key));
  return !value.is_null();
}

}  // namespace swage
