#include "core/base/standard_files.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace swage {

void open_standard_files() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    // open() takes the lowest number that is free: this one.
    if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF) open("/dev/null", O_RDWR);
  }
}

absl::Status flush_standard_output() {
  const bool failed = std::ferror(stdout) != 0;
  if (std::fflush(stdout) == 0 && !failed) return absl::OkStatus();
  if (errno == EPIPE) return absl::OkStatus();  // who reads has seen enough
  return absl::UnavailableError(
      absl::StrCat("standard output cannot be written (", std::strerror(errno), ")"));
}

}  // namespace swage
