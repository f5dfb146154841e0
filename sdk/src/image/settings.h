#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "image/decode.h"
#include "swage/image/image.h"
#include "swage/value.h"

// What processors share: reading preprocessor_config.json, and the step from bytes to floats.
namespace swage::image {

constexpr std::array<double, 3> kClipMean = {0.48145466, 0.4578275, 0.40821073};
constexpr std::array<double, 3> kClipStd = {0.26862954, 0.26130258, 0.27577711};
constexpr std::array<double, 3> kHalf = {0.5, 0.5, 0.5};  // transformers' "ImageNet standard"
constexpr int64_t kMaxSide = 1 << 16;

// An error unless `rgb` is a picture as swage/image/image.h describes it.
absl::Status check_picture(const at::Tensor& rgb);

// A whole number between `least` and `most`.
absl::StatusOr<int64_t> read_count(const Value& config, const char* key, int64_t fallback,
                                   int64_t least, int64_t most);

struct Size {
  int64_t height, width;
};
// n (a square), [height, width] or {"height": , "width": }.
absl::StatusOr<Size> read_size(const Value& config, const char* key, Size fallback);

// `resample` counts as Pillow does: 2 bilinear, 3 bicubic.
absl::StatusOr<Filter> read_filter(const Value& config, Filter fallback);

// An error when the table names an image processor that is none of `names` (endings Fast and Pil
// aside).
absl::Status check_kind(const Value& config, std::initializer_list<const char*> names);

// do_rescale, rescale_factor, do_normalize, image_mean, image_std: from [h, w, 3] in bytes to
// [3, h, w] in fp32. A byte has 256 values, so each channel has a table of results.
class Values {
 public:
  static absl::StatusOr<Values> read(const Value& config, const std::array<double, 3>& mean,
                                     const std::array<double, 3>& std);
  at::Tensor apply(const at::Tensor& rgb) const;
  const std::array<double, 3>& mean() const { return mean_; }

 private:
  std::array<double, 3> mean_{};
  std::array<std::array<float, 256>, 3> table_{};
};

// The result of `make`; members of a wrong type, which throw, become its error.
template <class Make>
auto reading(const Make& make) -> decltype(make()) {
  try {
    auto made = make();
    if (!made.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("preprocessor_config.json: ", made.status().message()));
    }
    return made;
  } catch (const std::invalid_argument& error) {
    return absl::InvalidArgumentError(absl::StrCat("preprocessor_config.json: ", error.what()));
  }
}

}  // namespace swage::image
