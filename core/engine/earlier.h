#pragma once
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/engine/folder_content.h"

namespace swage {

// What an earlier run left, where a new one is to take its place (--overwrite): it may go if it is
// what Swage made and nothing else. An export tells by its record, which lists all files with their
// digests; a work folder by its journal and by names that runs give.

// The record, in the folder of an export. It says nothing of the folder's verdict, which is written
// later.
constexpr const char* kExportRecord = "swage_export.json";
constexpr const char* kVerdictFile = "swage_verdict.json";

// Lists everything that lies in the folder of a finished export, before it gets its name.
absl::Status write_export_record(const std::string& folder);

// An export as it was seen.
class EarlierExport {
 public:
  // FailedPrecondition names what in the folder Swage did not make. Reads every file. Files that
  // are gone are no loss.
  static absl::StatusOr<EarlierExport> look(const std::string& path);
  const std::string& identity() const { return content_.identity(); }
  // Does the folder at `path` hold the same files in the same state? Reads none of them.
  bool is_unchanged(const std::string& path) const;
  // Removes the folder, wherever it lies by now. What was put into it meanwhile stays, and with it
  // the folder: then false.
  absl::StatusOr<bool> remove(const std::string& path) const;

 private:
  explicit EarlierExport(FolderContent content) : content_(std::move(content)) {}
  FolderContent content_;
};

// FailedPrecondition: no work folder of Swage, or files of others in it, by name.
absl::Status check_earlier_work(const std::string& work);
// Removes what runs make in the work folder, the journal last. Its lock stays, and so do files of
// others.
absl::Status remove_earlier_work(const std::string& work);

}  // namespace swage
