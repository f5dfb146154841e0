#include "core/engine/export_place.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/exit_codes.h"
#include "core/engine/files.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

absl::Status refuse(const std::string& path, const std::string& why) {
  return with_exit_code(
      absl::FailedPreconditionError(absl::StrCat(
          path, ": ", why, "; it is left as it is: move it away, then `swage resume` goes on")),
      ExitCode::kPipeline);
}

absl::Status failed(const std::string& path, const char* what) {
  return absl::UnavailableError(absl::StrCat(path, ": ", what, " (", std::strerror(errno),
                                             "); mend that and continue with `swage resume`"));
}

bool is_identity(const Value& identity, const std::string& path) {
  return identity.text() != nullptr && !identity.text()->empty() &&
         identity_of(path) == *identity.text();
}

}  // namespace

ExportPlace::ExportPlace(std::string path, const std::string& work)
    : path_(std::move(path)),
      unfinished_(absl::StrFormat("%s.%08x.part", path_,
                                  static_cast<uint32_t>(XXH3_64bits(work.data(), work.size())))) {}

ExportPlace::ExportPlace(ExportPlace&& other) noexcept
    : path_(std::move(other.path_)),
      unfinished_(std::move(other.unfinished_)),
      earlier_(std::move(other.earlier_)),
      lock_(std::exchange(other.lock_, -1)),
      made_(std::exchange(other.made_, false)) {}

ExportPlace::~ExportPlace() {
  if (made_) rmdir(path_.c_str());  // fails where anything is in it, as it should
  if (lock_ >= 0) close(lock_);
}

absl::Status ExportPlace::reserve(bool overwrite) {
  if (lock_ >= 0) return absl::OkStatus();
  SWAGE_RETURN_IF_ERROR(make_folder(fs::path(path_).parent_path().string()));
  if (mkdir(path_.c_str(), 0755) == 0) {
    made_ = true;
  } else if (errno != EEXIST) {
    return failed(path_, "cannot be created");
  }
  lock_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (lock_ < 0) return refuse(path_, "is no folder");
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    made_ = false;
    return with_exit_code(
        absl::FailedPreconditionError(absl::StrCat(
            path_, ": another run writes its export there; give this one another path")),
        ExitCode::kPipeline);
  }
  std::error_code error;
  if (fs::is_empty(path_, error) && !error) return absl::OkStatus();
  if (!overwrite || error) return refuse(path_, "holds files of others");
  SWAGE_ASSIGN_OR_RETURN(earlier_, EarlierExport::look(path_));
  return absl::OkStatus();
}

absl::Status ExportPlace::clear(const Value& unfinished, const Value& replaced) {
  if (identity_of(unfinished_).empty() || rmdir(unfinished_.c_str()) == 0) return absl::OkStatus();
  if (is_identity(replaced, unfinished_)) {
    const std::string kept = drop(replaced);
    return kept.empty() ? absl::OkStatus() : refuse(unfinished_, kept);
  }
  std::error_code error;
  if (is_identity(unfinished, unfinished_)) {
    fs::remove_all(unfinished_, error);  // follows no links
    return error ? refuse(unfinished_, error.message()) : absl::OkStatus();
  }
  return with_exit_code(absl::FailedPreconditionError(absl::StrCat(
                            unfinished_,
                            ": the export is laid out in a folder of this name, but something lies "
                            "there that no earlier run tells of; move it away")),
                        ExitCode::kPipeline);
}

absl::StatusOr<std::string> ExportPlace::begin(const Value& before) {
  struct stat info = {};
  // An empty one is nobody's loss: a stop may come before the journal knows of it.
  if (lstat(unfinished_.c_str(), &info) == 0 && rmdir(unfinished_.c_str()) != 0) {
    if (!S_ISDIR(info.st_mode) || !is_identity(before, unfinished_))
      return refuse(unfinished_, "was not made by this run");
    std::error_code error;
    fs::remove_all(unfinished_, error);  // follows no links
    if (error) return refuse(unfinished_, error.message());
  }
  if (mkdir(unfinished_.c_str(), 0755) != 0) return failed(unfinished_, "cannot be created");
  return unfinished_;
}

absl::StatusOr<Value> ExportPlace::identity() const {
  const std::string identity = identity_of(unfinished_);
  if (identity.empty()) return failed(unfinished_, "cannot be looked at");
  return Value(identity);
}

Value ExportPlace::replaced() const { return earlier_ ? Value(earlier_->identity()) : Value(); }

// The earlier export keeps its name until this very moment, and the new one has it from then on.
absl::Status ExportPlace::exchange() {
  if (!earlier_->is_unchanged(path_)) return refuse(path_, "was changed while the run worked");
  const auto swap = [&] {
    return renameat2(AT_FDCWD, unfinished_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE);
  };
  if (swap() != 0) {
    if (errno == EINVAL || errno == ENOSYS)
      return refuse(path_, "cannot be replaced, since its file system exchanges no two folders");
    return failed(path_, "cannot be given to the finished folder");
  }
  // Somebody else's folder got there in between: it gets its name back.
  if (identity_of(unfinished_) != earlier_->identity()) {
    if (swap() != 0) return failed(path_, "cannot be given its name back");
    return refuse(path_, "was changed while the run worked");
  }
  return absl::OkStatus();
}

absl::Status ExportPlace::publish() {
  SWAGE_RETURN_IF_ERROR(sync_folder(unfinished_));
  if (earlier_) {
    SWAGE_RETURN_IF_ERROR(exchange());
  } else if (rename(unfinished_.c_str(), path_.c_str()) != 0) {
    const bool taken = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR;
    if (!taken) return failed(path_, "cannot be given to the finished folder");
    return refuse(path_, "was filled by somebody else while the run worked");
  }
  made_ = false;
  return sync_folder(fs::path(path_).parent_path().string());
}

std::string ExportPlace::drop(const Value& replaced) {
  if (!is_identity(replaced, unfinished_) || rmdir(unfinished_.c_str()) == 0) return "";
  absl::StatusOr<EarlierExport> earlier = absl::UnavailableError("");
  if (earlier_ && earlier_->is_unchanged(unfinished_))
    earlier = *earlier_;
  else
    earlier = EarlierExport::look(unfinished_);
  const absl::StatusOr<bool> gone = earlier.ok() ? earlier->remove(unfinished_) : earlier.status();
  if (gone.ok() && *gone) return "";
  return absl::StrCat(path_, ": the export that lay there before is kept as ", unfinished_, ": ",
                      gone.ok() ? "files were put into it" : gone.status().message());
}

bool ExportPlace::is_published(const Value& identity) const { return is_identity(identity, path_); }

}  // namespace swage
