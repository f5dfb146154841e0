#include <ATen/ops/from_blob.h>

#include <cstring>

#include "image/decode.h"
#include "swage/image/image.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage::image {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 28;

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
  SWAGE_ASSIGN_OR_RETURN(const std::string bytes, io::read_file(path, kMaxBytes));
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
