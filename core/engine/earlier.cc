#include "core/engine/earlier.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/file_digest.h"
#include "core/engine/journal.h"
#include "core/engine/process.h"
#include "swage/io/safetensors_header.h"
#include "swage/printable.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using Entry = FolderContent::Entry;

constexpr int64_t kMaxRecordBytes = 256 << 20;

absl::Status not_ours(const std::string& path, const std::string& what) {
  return with_exit_code(absl::FailedPreconditionError(absl::StrCat("\"", path, "\" ", what)),
                        ExitCode::kPipeline);
}

absl::Status foreign(const std::string& path, const std::string& name, const std::string& why) {
  return not_ours(path, absl::StrCat("holds ", printable(name), ", ", why,
                                     "; --overwrite takes what "
                                     "swage made and nothing else: move it away"));
}

// Folders that hold a file of this list.
std::set<std::string> folders_of(const Value::Table& files) {
  std::set<std::string> folders;
  for (const auto& [name, value] : files) {
    for (size_t slash = name.find('/'); slash != std::string::npos;
         slash = name.find('/', slash + 1))
      folders.insert(name.substr(0, slash));
  }
  return folders;
}

absl::StatusOr<Value> read_record(const std::string& path, const FolderContent& content) {
  const auto& entries = content.entries();
  const bool there = std::any_of(entries.begin(), entries.end(), [](const Entry& entry) {
    return entry.is_file && entry.name == kExportRecord;
  });
  if (!there)
    return not_ours(path, absl::StrCat("holds no ", kExportRecord,
                                       ", so it is no export that swage finished; --overwrite "
                                       "takes nothing else: move it away"));
  const auto text = io::read_file((fs::path(path) / kExportRecord).string(), kMaxRecordBytes);
  const auto record = text.ok() ? parse_json(*text, kExportRecord) : text.status();
  if (!record.ok() || (*record)["files"].table() == nullptr)
    return foreign(path, kExportRecord, "which is no record of an export");
  return record;
}

// Empty, or why an entry is none of the record's.
absl::StatusOr<std::string> why_foreign(const std::string& path, const Entry& entry,
                                        const Value::Table& files,
                                        const std::set<std::string>& folders) {
  if (entry.is_folder)
    return folders.count(entry.name) > 0 ? std::string() : "a folder that no export of swage has";
  if (!entry.is_file) return std::string("which is no file");
  if (entry.name == kExportRecord || entry.name == kVerdictFile) return std::string();
  const auto known = files.find(entry.name);
  if (known == files.end()) return std::string("which swage did not make");
  if (entry.size != known->second.i64("bytes", -1)) return std::string("which was changed");
  SWAGE_ASSIGN_OR_RETURN(const std::string digest,
                         file_digest((fs::path(path) / entry.name).string(), 0, entry.size));
  return digest == known->second.str("digest", "") ? "" : "which was changed";
}

bool is_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

// "language-00003.safetensors", "vision-embedding.safetensors", "head.safetensors".
bool is_part_name(const std::string& file) {
  const std::string stem = fs::path(file).stem().string();
  if (fs::path(file).extension() != ".safetensors") return false;
  if (stem == "head" || stem == "embedding") return true;
  const size_t dash = stem.rfind('-');
  if (dash == std::string::npos || dash == 0) return false;
  const std::string behind = stem.substr(dash + 1);
  return behind == "embedding" || (behind.size() >= 5 && is_number(behind));
}

// Does a run make an entry of this name?
bool is_of_a_run(const Entry& entry) {
  const std::string& name = entry.name;
  const auto slashes = std::count(name.begin(), name.end(), '/');
  if (name == "state" || name == "parts") return entry.is_folder;
  if (slashes == 0) {
    static const std::set<std::string> kOwn = {"lock",           "result.json",       "run.db",
                                               "run.db-journal", "run.db-wal",        "run.db-shm",
                                               "run.db.new",     "run.db.new-journal"};
    return entry.is_file && kOwn.count(name) > 0;
  }
  if (absl::StartsWith(name, "state/")) {
    return entry.is_file && slashes == 1 &&
           (name == "state/verified.safetensors" ||
            (absl::StartsWith(name, "state/border-") && is_part_name(name.substr(6))));
  }
  if (!absl::StartsWith(name, "parts/")) return false;
  if (slashes == 1) return entry.is_folder;
  return slashes == 2 && entry.is_file && is_part_name(name.substr(name.rfind('/') + 1));
}

}  // namespace

absl::Status write_export_record(const std::string& folder) {
  SWAGE_ASSIGN_OR_RETURN(const FolderContent content, FolderContent::look(folder));
  Value::Table files;
  for (const Entry& entry : content.entries()) {
    if (!entry.is_file || entry.name == kExportRecord || entry.name == kVerdictFile) continue;
    SWAGE_RETURN_IF_ERROR(interrupted());
    SWAGE_ASSIGN_OR_RETURN(std::string digest,
                           file_digest((fs::path(folder) / entry.name).string(), 0, entry.size));
    files[entry.name] = Value(Value::Table{{"bytes", entry.size}, {"digest", std::move(digest)}});
  }
  const Value record(Value::Table{{"swage", SWAGE_VERSION}, {"files", Value(std::move(files))}});
  return io::write_file_atomically((fs::path(folder) / kExportRecord).string(),
                                   to_json(record) + "\n");
}

absl::StatusOr<EarlierExport> EarlierExport::look(const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(FolderContent content, FolderContent::look(path));
  SWAGE_ASSIGN_OR_RETURN(const Value record, read_record(path, content));
  const Value::Table& files = *record["files"].table();
  const std::set<std::string> folders = folders_of(files);
  for (const Entry& entry : content.entries()) {
    SWAGE_RETURN_IF_ERROR(interrupted());
    SWAGE_ASSIGN_OR_RETURN(const std::string why, why_foreign(path, entry, files, folders));
    if (!why.empty()) return foreign(path, entry.name, why);
  }
  return EarlierExport(std::move(content));
}

bool EarlierExport::is_unchanged(const std::string& path) const {
  const auto now = FolderContent::look(path);
  return now.ok() && now->identity() == content_.identity() && now->entries() == content_.entries();
}

absl::StatusOr<bool> EarlierExport::remove(const std::string& path) const {
  // The record goes last: what an interrupted removal leaves can still be told.
  std::vector<Entry> record, others;
  for (const Entry& entry : content_.entries())
    (entry.name == kExportRecord ? record : others).push_back(entry);
  SWAGE_RETURN_IF_ERROR(content_.remove(path, others));
  SWAGE_ASSIGN_OR_RETURN(const FolderContent left, FolderContent::look(path));
  if (left.entries().size() > record.size()) return false;
  SWAGE_RETURN_IF_ERROR(content_.remove(path, record));
  std::error_code error;
  return fs::remove(path, error);  // an empty folder, or nothing
}

absl::Status check_earlier_work(const std::string& work) {
  SWAGE_ASSIGN_OR_RETURN(const FolderContent content, FolderContent::look(work));
  if (!Journal::is_one(work))
    return not_ours(work,
                    "holds a run.db that is no journal of swage; --overwrite takes nothing "
                    "else: move it away");
  for (const Entry& entry : content.entries()) {
    if (!is_of_a_run(entry)) return foreign(work, entry.name, "which no run of swage makes");
  }
  return absl::OkStatus();
}

absl::Status remove_earlier_work(const std::string& work) {
  SWAGE_ASSIGN_OR_RETURN(const FolderContent content, FolderContent::look(work));
  std::vector<Entry> journal, others;
  for (const Entry& entry : content.entries()) {
    if (!is_of_a_run(entry) || entry.name == "lock") continue;
    (entry.name == "run.db" ? journal : others).push_back(entry);
  }
  SWAGE_RETURN_IF_ERROR(content.remove(work, others));
  return content.remove(work, journal);
}

}  // namespace swage
