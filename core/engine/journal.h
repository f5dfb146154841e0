#pragma once
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"

struct sqlite3;

namespace swage {

// What a run knows of itself, in WORK/run.db (SQLite): entries of a kind and a key, each a tree of
// values (JSON). A commit is one transaction and durable when it returns: after `kill -9`, a power
// cut or a full disk the file holds all of a commit or nothing of it. Every entry has a digest, and
// all of them together one: what is read is what was committed.
class Journal {
 public:
  struct Entry {
    std::string kind;  // "run", "block", "linear", "stored", "phase", "file", "shard" …
    std::string key;   // unique within its kind; a later commit replaces the value
    // Integers and doubles come back equal to the last bit. JSON has no NaN and no infinity: they
    // come back as null, as they would from result.json.
    Value value;
  };

  // Makes the work folder and run.db with these entries, whole or not at all (written under another
  // name, then renamed). AlreadyExists when there is a run.db: names the ways on (resume, remove,
  // another --work).
  static absl::StatusOr<Journal> create(const std::string& work, const std::vector<Entry>& entries);
  // The journal of an earlier run. NotFound: no run.db. DataLoss: no journal of swage, or of a
  // other version, or one bit of it was changed. FailedPrecondition: another process works on it
  // (it holds WORK/lock while it lives).
  static absl::StatusOr<Journal> open(const std::string& work);

  // Does the folder hold a journal, damaged or not? What SQLite's header says of run.db.
  static bool is_one(const std::string& work);
  // Removes the run that lies in the folder: what Swage made there, and nothing else. Nothing where
  // there is no run. FailedPrecondition: another process works on it, or run.db is no journal.
  static absl::Status discard(const std::string& work);

  Journal(Journal&&) noexcept;
  Journal& operator=(Journal&&) noexcept;
  ~Journal();

  // ResourceExhausted: the disk is full. Unavailable: input/output failed.
  absl::Status commit(const std::vector<Entry>& entries);
  // Forgets all but how the run was started (the kind "run"), and commits these.
  absl::Status begin_again(const std::vector<Entry>& entries);
  // Null when there is none.
  absl::StatusOr<Value> get(const std::string& kind, const std::string& key) const;
  // All of a kind, in the order in which their keys were first committed.
  absl::StatusOr<std::vector<Entry>> all(const std::string& kind) const;
  const std::string& work() const { return work_; }

 private:
  Journal() = default;
  std::string work_;
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> database_{nullptr, nullptr};
  int lock_ = -1;
};

}  // namespace swage
