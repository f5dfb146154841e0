#include "image/decode.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace swage::image {

absl::StatusOr<Picture> decode(std::string_view bytes, const Limits& limits) {
  if (starts_with(bytes, "\xff\xd8\xff")) return decode_jpeg(bytes, limits);
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) return decode_png(bytes, limits);
  if (starts_with(bytes, "RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP")
    return decode_webp(bytes, limits);
  if (bytes.empty()) return absl::InvalidArgumentError("the file is empty");
  return absl::InvalidArgumentError(absl::StrCat("the file begins with \"",
                                                 absl::CHexEscape(std::string(bytes.substr(0, 8))),
                                                 "\": neither JPEG nor PNG nor WebP; convert it"));
}

absl::Status check_size(int64_t height, int64_t width, const Limits& limits) {
  if (height < 1 || width < 1 || width > limits.pixels / height) {
    return absl::InvalidArgumentError(absl::StrCat("a picture of ", width, " x ", height,
                                                   " pixels; 1 to ", limits.pixels, " are read"));
  }
  return absl::OkStatus();
}

}  // namespace swage::image
