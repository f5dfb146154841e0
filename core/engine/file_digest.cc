#include "core/engine/file_digest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr int64_t kPieceBytes = int64_t{4} << 20;

std::string hexadecimal(const XXH128_hash_t& hash) {
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

absl::Status failed(const std::string& path, int error) {
  const std::string text = absl::StrCat(path, ": cannot be read (", std::strerror(error), ")");
  return error == ENOENT ? absl::NotFoundError(text) : absl::UnavailableError(text);
}

class Descriptor {
 public:
  explicit Descriptor(const std::string& path)
      : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }

 private:
  const int number_;
};

}  // namespace

std::string text_digest(const std::string& text) {
  return hexadecimal(XXH3_128bits(text.data(), text.size()));
}

absl::StatusOr<std::string> file_digest(const std::string& path, int64_t begin, int64_t end,
                                        const std::atomic<bool>* stop) {
  const Descriptor file(path);
  if (file.number() < 0) return failed(path, errno);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       XXH3_freeState);
  XXH3_128bits_reset(state.get());
  std::vector<char> piece(static_cast<size_t>(std::clamp<int64_t>(end - begin, 1, kPieceBytes)));
  for (int64_t at = begin; at < end;) {
    if (stop != nullptr && *stop) return absl::CancelledError("stopped");
    const ssize_t got = ::pread(file.number(), piece.data(),
                                std::min(piece.size(), static_cast<size_t>(end - at)), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(path, errno);
    if (got == 0) return absl::DataLossError(absl::StrCat(path, ": ends at byte ", at));
    XXH3_128bits_update(state.get(), piece.data(), static_cast<size_t>(got));
    at += got;
  }
  return hexadecimal(XXH3_128bits_digest(state.get()));
}

absl::StatusOr<std::string> file_digest(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return failed(path, errno);
  return file_digest(path, 0, info.st_size);
}

}  // namespace swage
