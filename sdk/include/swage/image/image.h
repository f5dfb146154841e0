#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "absl/status/statusor.h"
#include "swage/export.h"

namespace swage::image {

// Pictures are uint8 [height, width, 3], RGB, contiguous, on the CPU, at most kMaxPixels large.
constexpr int64_t kMaxPixels = int64_t{1} << 27;

// Reads a JPEG, PNG or WebP file, known by its first bytes, into the pixels that transformers sees:
// those of Pillow's ImageOps.exif_transpose(Image.open(path)).convert("RGB"). So alpha is dropped,
// an orientation in EXIF or XMP is applied, colour profiles and gamma are ignored, grey of 16 bits
// is cut off at 255 and colours of 16 bits keep their upper 8. Of animations the first picture is
// read. Errors: NotFound, PermissionDenied; InvalidArgument for another format, a file that ends
// early or has damaged data (where Pillow invents pixels), and sizes beyond the limits.
SWAGE_API absl::StatusOr<at::Tensor> read_image(const std::string& path);

enum class Filter { kBilinear, kBicubic };

// Image.resize of Pillow up to version 12 for 8 bits, to the last bit: antialiased, bicubic with
// a = -0.5, weights of 22 bits, along rows first (columns first where a picture more than 100 times
// as high as wide shrinks), rounded to 8 bits in between. A side that keeps its length is left
// alone. (Pillow 13 goes along columns first where the height shrinks much more than the width:
// most pixels move by a level, more where bicubic overshoots.) InvalidArgument: no picture, a side
// below 1, more than kMaxPixels.
SWAGE_API absl::StatusOr<at::Tensor> resize(const at::Tensor& rgb, int64_t height, int64_t width,
                                            Filter filter);

}  // namespace swage::image
