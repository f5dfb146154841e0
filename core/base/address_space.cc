#include "core/base/address_space.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/bytes.h"

namespace swage {
namespace {

// A library's segment or the stack of a thread: the next request may have been that large.
constexpr int64_t kSpareBytes = int64_t{128} << 20;

// 0: none.
int64_t limit_bytes() noexcept {
  rlimit limit = {};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 0;
  return static_cast<int64_t>(limit.rlim_cur);
}

// VmPeak of /proc/self/status. Nothing here allocates.
int64_t peak_bytes() noexcept {
  char text[4096];
  const int file = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t size = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (size <= 0) return 0;
  text[size] = '\0';
  const char* at = std::strstr(text, "VmPeak:");
  if (at == nullptr) return 0;
  int64_t kib = 0;
  for (at += std::strlen("VmPeak:"); *at != '\0' && *at != '\n'; ++at) {
    if (*at >= '0' && *at <= '9') kib = kib * 10 + (*at - '0');
  }
  return kib * 1024;
}

}  // namespace

absl::Status check_address_space(int64_t bytes) {
  const int64_t limit = limit_bytes();
  if (limit == 0 || limit >= bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the address space of a process is limited to ", bytes_to_text(limit),
      " (ulimit -v), the libraries alone need ", bytes_to_text(bytes), "; raise the limit"));
}

bool address_space_was_short() noexcept {
  const int64_t limit = limit_bytes();
  return limit != 0 && peak_bytes() + std::max(kSpareBytes, limit / 16) > limit;
}

}  // namespace swage
