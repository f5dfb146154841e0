#include "posix_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr int64_t kLargestCall = int64_t{1} << 30;  // Linux moves at most 2 GiB a call

absl::Status system_error(std::string_view what, const std::string& path, int error) {
  const std::string text =
      absl::StrCat(path, ": cannot be ", absl::string_view(what.data(), what.size()), " (",
                   std::strerror(error), ")");
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(
          absl::StrCat(text, "; free some space or choose another disk"));
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(text);
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(text);
    case EIO:
      return absl::DataLossError(text);
    default:
      return absl::FailedPreconditionError(text);
  }
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return S_ISCHR(mode) || S_ISBLK(mode) ? "a device" : "no file";
}

// Two runs may write one file, such as a cache's: each has a temporary one of its own.
std::string temporary_name(const std::string& path) {
  static std::atomic<int> count = 0;
  return absl::StrCat(path, ".", ::getpid(), "-", count++, ".tmp");
}

std::string folder_of(const std::string& file) {
  std::error_code failed;
  return std::filesystem::absolute(file, failed).parent_path().string();
}

// A rename is safe from a power cut once its folder is on disk.
absl::Status sync_folder(const std::string& file) {
  const std::string folder = folder_of(file);
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return system_error("opened", folder, errno);
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  return result == 0 ? absl::OkStatus() : system_error("synced", folder, error);
}

}  // namespace

InputFile::InputFile(std::string path, int descriptor, int64_t size)
    : path_(std::move(path)), descriptor_(descriptor), size_(size) {}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_) {}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

absl::StatusOr<InputFile> InputFile::open(const std::string& path) {
  // A pipe would keep its reader waiting for a writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return system_error("opened", path, errno);
  struct stat info = {};
  if (::fstat(descriptor, &info) != 0) info.st_mode = 0;
  InputFile file(path, descriptor, info.st_size);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": this is ", kind_of(info.st_mode), ", expected a file"));
  }
  return file;
}

absl::Status InputFile::read(int64_t offset, int64_t size, void* out) const {
  char* at = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got =
        ::pread(descriptor_, at, static_cast<size_t>(std::min(size, kLargestCall)), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("read", path_, errno);
    if (got == 0)
      return absl::DataLossError(absl::StrCat(path_, ": the file ends at byte ", offset, ", ", size,
                                              " bytes too early; it was cut after it was opened"));
    at += got, offset += got, size -= got;
  }
  return absl::OkStatus();
}

OutputFile::OutputFile(std::string path, std::string temporary, int descriptor)
    : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

absl::StatusOr<OutputFile> OutputFile::create(const std::string& path) {
  // Without a name nothing is left of it, whatever ends the process.
  const int unnamed = ::open(folder_of(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
  if (unnamed >= 0) return OutputFile(path, "", unnamed);
  std::string temporary = temporary_name(path);
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int descriptor = ::open(temporary.c_str(), flags, 0644);
  // Left by a process of the same number that was killed.
  if (descriptor < 0 && errno == EEXIST && ::unlink(temporary.c_str()) == 0)
    descriptor = ::open(temporary.c_str(), flags, 0644);
  if (descriptor < 0) return system_error("created", path, errno);
  return OutputFile(path, std::move(temporary), descriptor);
}

absl::Status OutputFile::failed() const { return system_error("written", path_, errno); }

absl::Status OutputFile::write(const void* data, int64_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t done =
        ::write(descriptor_, at, static_cast<size_t>(std::min(size, kLargestCall)));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return failed();
    at += done, size -= done;
  }
  return absl::OkStatus();
}

absl::Status OutputFile::commit() {
  if (::fsync(descriptor_) != 0) return failed();
  if (temporary_.empty()) {
    const std::string open_file = absl::StrCat("/proc/self/fd/", descriptor_);
    const auto link_as = [&](const std::string& name) {
      return ::linkat(AT_FDCWD, open_file.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
    };
    if (link_as(path_)) {
      ::close(std::exchange(descriptor_, -1));
      return sync_folder(path_);
    }
    // Something has the name: only a rename takes it over.
    const std::string temporary = temporary_name(path_);
    if (errno != EEXIST || !link_as(temporary)) return failed();
    temporary_ = temporary;
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return failed();
  ::close(std::exchange(descriptor_, -1));
  return sync_folder(path_);
}

absl::StatusOr<std::string> read_file(const std::string& path, int64_t limit_bytes) {
  SWAGE_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(path));
  if (file.size() > limit_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has ", file.size(), " bytes, expected at most ", limit_bytes));
  }
  std::string content(static_cast<size_t>(file.size()), '\0');
  SWAGE_RETURN_IF_ERROR(file.read(0, file.size(), content.data()));
  return content;
}

absl::Status write_file_atomically(const std::string& path, std::string_view content) {
  SWAGE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::create(path));
  SWAGE_RETURN_IF_ERROR(file.write(content));
  return file.commit();
}

}  // namespace swage::io
