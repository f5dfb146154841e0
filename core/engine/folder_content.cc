#include "core/engine/folder_content.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr size_t kMostEntries = 1'000'000;
constexpr int kMostLevels = 16;
constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  int number() const { return number_; }

 private:
  int number_;
};

absl::Status failed(const std::string& path, const char* what, int error) {
  return absl::UnavailableError(
      absl::StrCat(path, ": cannot be ", what, " (", std::strerror(error), ")"));
}

int64_t nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::string identity_text(const struct stat& info) {
  return absl::StrCat(info.st_dev, ":", info.st_ino);
}

FolderContent::Entry entry_of(std::string name, const struct stat& info) {
  return {std::move(name),
          S_ISREG(info.st_mode),
          S_ISDIR(info.st_mode),
          info.st_dev,
          info.st_ino,
          S_ISREG(info.st_mode) ? info.st_size : 0,
          S_ISREG(info.st_mode) ? nanoseconds(info.st_mtim) : 0,
          S_ISREG(info.st_mode) ? nanoseconds(info.st_ctim) : 0};
}

class Walk {
 public:
  Walk(std::string root, dev_t device, std::vector<FolderContent::Entry>* entries)
      : root_(std::move(root)), device_(device), entries_(*entries) {}

  // Takes the descriptor over.
  absl::Status folder(int descriptor, const std::string& prefix, int level) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(descriptor), closedir);
    if (stream != nullptr) return list(stream.get(), prefix, level);
    const int error = errno;
    close(descriptor);
    return failed(root_ + "/" + prefix, "read", error);
  }

 private:
  absl::Status list(DIR* stream, const std::string& prefix, int level) {
    for (errno = 0; const dirent* found = readdir(stream); errno = 0) {
      const std::string name = found->d_name;
      if (name == "." || name == "..") continue;
      struct stat info = {};
      if (fstatat(dirfd(stream), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
        return failed(absl::StrCat(root_, "/", prefix, name), "looked at", errno);
      entries_.push_back(entry_of(prefix + name, info));
      if (entries_.size() > kMostEntries || level > kMostLevels)
        return absl::UnavailableError(absl::StrCat(root_, ": holds too much to look at"));
      if (!S_ISDIR(info.st_mode) || info.st_dev != device_) continue;
      const int inner = openat(dirfd(stream), name.c_str(), kFolder);
      if (inner < 0) return failed(absl::StrCat(root_, "/", prefix, name), "read", errno);
      SWAGE_RETURN_IF_ERROR(folder(inner, absl::StrCat(prefix, name, "/"), level + 1));
    }
    return errno == 0 ? absl::OkStatus() : failed(root_ + "/" + prefix, "read", errno);
  }

  const std::string root_;
  const dev_t device_;
  std::vector<FolderContent::Entry>& entries_;
};

// The folder that holds `name`, and the last word of it. No link is followed on the way.
Descriptor open_parent(int root, const std::string& name, std::string* last) {
  Descriptor at(fcntl(root, F_DUPFD_CLOEXEC, 0));
  size_t begin = 0;
  for (size_t slash; (slash = name.find('/', begin)) != std::string::npos; begin = slash + 1) {
    if (at.number() < 0) break;
    at = Descriptor(openat(at.number(), name.substr(begin, slash - begin).c_str(), kFolder));
  }
  *last = name.substr(begin);
  return at;
}

}  // namespace

bool FolderContent::Entry::operator==(const Entry& other) const {
  const auto all = [](const Entry& e) {
    return std::tie(e.name, e.is_file, e.is_folder, e.device, e.inode, e.size, e.modified,
                    e.changed);
  };
  return all(*this) == all(other);
}

absl::StatusOr<FolderContent> FolderContent::look(const std::string& path) {
  const int folder = open(path.c_str(), kFolder);
  struct stat info = {};
  if (folder < 0 || fstat(folder, &info) != 0) {
    const int error = errno;
    if (folder >= 0) close(folder);
    return failed(path, "read as a folder", error);
  }
  FolderContent content;
  content.identity_ = identity_text(info);
  SWAGE_RETURN_IF_ERROR(Walk(path, info.st_dev, &content.entries_).folder(folder, "", 0));
  std::sort(content.entries_.begin(), content.entries_.end(),
            [](const Entry& a, const Entry& b) { return a.name < b.name; });
  return content;
}

absl::Status FolderContent::remove(const std::string& path,
                                   const std::vector<Entry>& entries) const {
  const Descriptor root(open(path.c_str(), kFolder));
  struct stat info = {};
  if (root.number() < 0 || fstat(root.number(), &info) != 0)
    return failed(path, "read as a folder", errno);
  if (identity_text(info) != identity_)
    return absl::UnavailableError(absl::StrCat(path, ": another folder lies there by now"));
  // Backwards: what a folder holds comes before the folder.
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    std::string last;
    const Descriptor parent = open_parent(root.number(), entry->name, &last);
    if (parent.number() < 0 ||
        fstatat(parent.number(), last.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !(entry_of(entry->name, info) == *entry))
      continue;
    const int flags = entry->is_folder ? AT_REMOVEDIR : 0;
    if (unlinkat(parent.number(), last.c_str(), flags) == 0) continue;
    const bool kept = entry->is_folder && (errno == ENOTEMPTY || errno == EEXIST);
    if (!kept) return failed(path + "/" + entry->name, "removed", errno);
  }
  return absl::OkStatus();
}

std::string identity_of(const std::string& path) {
  struct stat info = {};
  return lstat(path.c_str(), &info) == 0 ? identity_text(info) : "";
}

}  // namespace swage
