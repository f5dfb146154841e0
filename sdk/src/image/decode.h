#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

// Decoders of picture files. Nothing of LibTorch, so that they can be fuzzed alone.
namespace swage::image {

struct Limits {
  int64_t pixels = int64_t{1} << 27;
};

struct Picture {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
  int orientation = 1;       // of EXIF: how to turn the picture, 1 to 8
};

// By the first bytes. Errors say what is wrong with the bytes; the caller knows the file.
absl::StatusOr<Picture> decode(std::string_view bytes, const Limits& limits);

absl::StatusOr<Picture> decode_jpeg(std::string_view bytes, const Limits& limits);
absl::StatusOr<Picture> decode_png(std::string_view bytes, const Limits& limits);
absl::StatusOr<Picture> decode_webp(std::string_view bytes, const Limits& limits);

inline bool starts_with(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// An error when a picture of this size is not read.
absl::Status check_size(int64_t height, int64_t width, const Limits& limits);

// The orientation that metadata state, as Pillow takes it: EXIF (from its TIFF header on) first,
// else the text of XMP. 1 where neither says anything that makes sense.
int orientation(std::string_view exif, std::string_view xmp);

}  // namespace swage::image
