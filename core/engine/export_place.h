#pragma once
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "swage/value.h"

namespace swage {

// The folder that an export becomes. Nothing that lies there is ever removed: the finished folder
// takes the place of an empty one in a single rename, which the system refuses where anything is in
// it. While a run works, that empty folder is locked against other runs.
class ExportPlace {
 public:
  // `work` makes the name of the unfinished folder beside `path` this run's own.
  ExportPlace(std::string path, const std::string& work);
  ExportPlace(ExportPlace&& other) noexcept;
  ExportPlace(const ExportPlace&) = delete;
  ~ExportPlace();  // an empty folder that it made goes again

  // FailedPrecondition: another run writes there, or the folder is not empty. Once is enough.
  absl::Status reserve();
  // An empty folder beside the export. What an earlier attempt of this run left there goes: the
  // folder of identity `before` (null: none). FailedPrecondition: somebody else's lies there.
  absl::StatusOr<std::string> begin(const Value& before);
  // Which folder begin() made, for the journal: it keeps this identity when it gets its name.
  absl::StatusOr<Value> identity() const;
  // Durably gives the folder its name. AlreadyExists: something was put there meanwhile.
  absl::Status publish();
  // Has the folder of that identity got its name already? A stop may come between name and commit.
  bool is_published(const Value& identity) const;

 private:
  std::string path_, unfinished_;
  int lock_ = -1;
  bool made_ = false;
};

}  // namespace swage
