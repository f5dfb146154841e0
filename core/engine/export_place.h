#pragma once
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/engine/earlier.h"
#include "swage/value.h"

namespace swage {

// The folder that an export becomes. Nothing of others that lies there is ever removed: the
// finished folder takes the place of an empty one in a single rename, which the system refuses
// where anything is in it, or changes places with an earlier export of Swage (--overwrite), whose
// files then go. While a run works, the folder at that place is locked against other runs.
class ExportPlace {
 public:
  // `work` makes the name of the unfinished folder beside `path` this run's own.
  ExportPlace(std::string path, const std::string& work);
  ExportPlace(ExportPlace&& other) noexcept;
  ExportPlace(const ExportPlace&) = delete;
  ~ExportPlace();  // an empty folder that it made goes again

  // FailedPrecondition: another run writes there, or the folder is not empty. With `overwrite` it
  // may be an earlier export. Once is enough.
  absl::Status reserve(bool overwrite = false);
  // What an earlier run of the same work folder left beside the export goes: the folder that it was
  // filling, or the export that it had replaced. FailedPrecondition: somebody else's lies there.
  absl::Status clear(const Value& unfinished, const Value& replaced);
  // An empty folder beside the export. What an earlier attempt of this run left there goes: the
  // folder of identity `before` (null: none). FailedPrecondition: somebody else's lies there.
  absl::StatusOr<std::string> begin(const Value& before);
  // Which folder begin() made, for the journal: it keeps this identity when it gets its name.
  absl::StatusOr<Value> identity() const;
  // Which earlier export will go, for the journal; null: none.
  Value replaced() const;
  // Durably gives the folder its name. FailedPrecondition: something was put there meanwhile.
  absl::Status publish();
  // Removes the earlier export of that identity, which publish() left beside the new one. What was
  // put into it meanwhile is kept: then the text says where.
  std::string drop(const Value& replaced);
  // Has the folder of that identity got its name already? A stop may come between name and commit.
  bool is_published(const Value& identity) const;

 private:
  absl::Status exchange();

  std::string path_, unfinished_;
  std::optional<EarlierExport> earlier_;
  int lock_ = -1;
  bool made_ = false;
};

}  // namespace swage
