#include <ATen/ops/from_blob.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "image/decode.h"
#include "swage/image/image.h"
#include "swage/status.h"

namespace swage::image {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 28;

absl::StatusOr<std::string> read_bytes(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return absl::ErrnoToStatus(error.value(), "cannot be read");
  if (size > static_cast<uintmax_t>(kMaxBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a file of ", size, " bytes; up to ", kMaxBytes, " are read"));
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (file == nullptr) return absl::ErrnoToStatus(errno, "cannot be read");
  std::string bytes(size, '\0');
  if (std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size())
    return absl::DataLossError("the file became shorter while it was read");
  return bytes;
}

// The eight ways to hold a camera (EXIF 2.3, tag 0x0112).
at::Tensor upright(const at::Tensor& rgb, int orientation) {
  switch (orientation) {
    case 2:
      return rgb.flip({1});
    case 3:
      return rgb.flip({0, 1});
    case 4:
      return rgb.flip({0});
    case 5:
      return rgb.transpose(0, 1);
    case 6:
      return rgb.transpose(0, 1).flip({1});
    case 7:
      return rgb.transpose(0, 1).flip({0, 1});
    case 8:
      return rgb.transpose(0, 1).flip({0});
    default:
      return rgb;
  }
}

absl::StatusOr<at::Tensor> read(const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(const std::string bytes, read_bytes(path));
  SWAGE_ASSIGN_OR_RETURN(Picture picture, decode(bytes, Limits{kMaxPixels}));
  const at::Tensor rgb =
      at::from_blob(picture.rgb.data(), {picture.height, picture.width, 3}, at::kByte);
  return upright(rgb, picture.orientation).clone(at::MemoryFormat::Contiguous);
}

}  // namespace

absl::StatusOr<at::Tensor> read_image(const std::string& path) {
  absl::StatusOr<at::Tensor> rgb = read(path);
  if (!rgb.ok()) return annotate(rgb.status(), path);
  return rgb;
}

}  // namespace swage::image
