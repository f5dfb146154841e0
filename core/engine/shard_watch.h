#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/journal.h"

namespace swage {

// The files of a model's weights while a run works with them, which may be days with stops between.
// A file is taken for unchanged while inode, size and times are. Where they are not, the digests of
// its tensors decide: a copy that was put back is as good as the file that was there.
class ShardWatch {
 public:
  // A checkpoint folder or a GGUF file, looked at before anything of it is opened.
  static absl::StatusOr<std::unique_ptr<ShardWatch>> of_model(const std::string& path);
  ~ShardWatch();

  // The run of the journal goes on: InvalidArgument names the first file and tensor that differ
  // from what it began with.
  absl::Status take_up(const Journal& journal);
  // Takes digests of all files that have none, on a thread of its own: each is read once more, most
  // of it while it is in memory anyway.
  void start();
  // The same as take_up() for a run that is at work.
  absl::Status check();
  // A tensor that this error names was of no use: in another form it is no change to the run.
  void forget(absl::string_view error);
  // What the journal does not know yet, to be committed with a block. Waits a little for digests
  // that are being taken.
  std::vector<Journal::Entry> news();
  // Waits for all digests. Cancelled: the user asked to stop. Else as check().
  absl::Status complete();
  // All of it is news once more: the journal begins again.
  void tell_again();

 private:
  struct Stamp {
    int64_t device = 0, inode = 0, size = 0, modified = 0, changed = 0;
    bool operator==(const Stamp& other) const;
  };
  struct Shard {
    std::string path;
    Stamp stamp;
    std::map<std::string, std::string> digests;  // by tensor; empty: not known yet
    bool is_news = true;
  };

  ShardWatch() = default;
  static absl::StatusOr<Stamp> stamp_of(const std::string& path);
  absl::StatusOr<std::map<std::string, std::string>> digests_of(const std::string& path) const;
  absl::Status confirm(Shard& shard);
  void take_digests();
  absl::Status fill_gaps(Shard* shard) const;

  std::mutex mutex_;  // of shards_, once the thread runs
  std::vector<Shard> shards_;
  std::atomic<bool> stop_{false}, at_work_{false};
  std::thread thread_;
  // What commits wait in all for digests: a small model's are then in its first one.
  std::chrono::nanoseconds patience_ = std::chrono::milliseconds(500);
};

}  // namespace swage
