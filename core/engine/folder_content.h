#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace swage {

// What lies in a folder and below it, as it was seen once. Links are listed and never followed;
// what is another file system's is not entered.
class FolderContent {
 public:
  struct Entry {
    std::string name;                         // within the folder: "code/modeling.py"
    bool is_file = false, is_folder = false;  // neither: a link, pipe, device or socket
    // Which file, and which state of it.
    uint64_t device = 0, inode = 0;
    int64_t size = 0, modified = 0, changed = 0;
    bool operator==(const Entry& other) const;
  };

  // Unavailable where the path is no folder (a link to one is none) or cannot be read.
  static absl::StatusOr<FolderContent> look(const std::string& path);
  // Sorted by name: a folder comes before what it holds.
  const std::vector<Entry>& entries() const { return entries_; }
  // The folder itself, whatever its name is by now: "device:inode".
  const std::string& identity() const { return identity_; }

  // Removes these entries of the folder that lies at `path` now, each if it still is what was seen;
  // folders if nothing is left in them. Whatever else lies there stays. Unavailable: another folder
  // lies at `path`, or a file cannot be removed.
  absl::Status remove(const std::string& path, const std::vector<Entry>& entries) const;

 private:
  std::string identity_;
  std::vector<Entry> entries_;
};

// "device:inode" of what lies at `path`, a link itself and not its target; "" where nothing does.
std::string identity_of(const std::string& path);

}  // namespace swage
