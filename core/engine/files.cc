#include "core/engine/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

absl::Status failed(const std::string& path, const char* what, const std::error_code& error) {
  return absl::UnavailableError(absl::StrCat(path, ": ", what, " (", error.message(),
                                             "); mend that and continue with `swage resume`"));
}

}  // namespace

absl::Status sync_folder(const std::string& path) {
  const int folder = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool done = folder >= 0 && fsync(folder) == 0;
  const std::error_code error(errno, std::generic_category());
  if (folder >= 0) close(folder);
  return done ? absl::OkStatus() : failed(path, "cannot be synced to disk", error);
}

absl::Status make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  return error ? failed(path, "cannot be created", error) : absl::OkStatus();
}

}  // namespace swage
