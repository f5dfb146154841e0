#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/export_writer.h"
#include "core/engine/journal.h"
#include "core/engine/outcome.h"
#include "core/engine/stopwatch.h"

namespace swage {

// What a run writes into its journal, kind by kind:
//   block   "language-00003"      seconds, stored bits, notes
//   linear  module path           outcome.h
//   stored  "<export>/<name>"     digests that verification compares
//   file    path in the work folder, digest and bytes of what lies there
//   phase   "embed", "embed/<tower>", "head", "evaluate", "export/<name>", "verify/<name>" seconds
//   and results
// One RunRecord becomes one commit.
class RunRecord {
 public:
  void linear(const LinearOutcome& outcome);
  void stored(const std::string& export_name, const std::vector<StoredItem>& items);
  // Parameters in floats: their number and bits are those of the model that is written.
  void parameters(int64_t count, int64_t bits);
  void parameter(const Parameter& parameter);
  void notes(const std::vector<std::string>& lines);
  // A file of the work folder that a later part of the run relies on.
  absl::Status file(const std::string& work, const std::string& path);
  void add(std::vector<Journal::Entry> entries);
  void seconds(const std::string& what, const Stopwatch::Reading& reading);

  // Commits everything as one unit of work. The journal then counts `kind`/`key` as done.
  absl::Status commit(Journal& journal, const std::string& kind, const std::string& key);
  const Value::Table& figures() const { return figures_; }
  void set(const std::string& key, Value value) { figures_[key] = std::move(value); }

 private:
  std::vector<Journal::Entry> entries_;
  Value::Table figures_;
  Value::Table seconds_;
  Value::List notes_;
  double cpu_seconds_ = 0;
  int64_t parameters_ = 0, bits_ = 0;
};

absl::StatusOr<std::vector<LinearOutcome>> recorded_linears(const Journal& journal);
absl::StatusOr<std::vector<StoredItem>> recorded_items(const Journal& journal,
                                                       const std::string& export_name);
// Paths of the files in a folder of the work folder ("parts/packed") that were committed, sorted.
absl::StatusOr<std::vector<std::string>> recorded_files(const Journal& journal,
                                                        const std::string& folder);
// DataLoss: the file is not what was committed, and says how.
absl::Status check_file(const Journal& journal, const std::string& path);
absl::StatusOr<bool> is_done(const Journal& journal, const std::string& kind,
                             const std::string& key);

}  // namespace swage
