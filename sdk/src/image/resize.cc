#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "image/settings.h"
#include "swage/image/image.h"
#include "swage/status.h"

namespace swage::image {
namespace {

constexpr int kWeightBits = 22;

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// What each pixel of a resized line is made of: `weights` of the pixels from `first` on.
struct Support {
  int64_t first;
  std::vector<int32_t> weights;
};

// The order of operations is Pillow's, since the last bit of a weight can move a pixel.
std::vector<Support> supports(int64_t from, int64_t to, Filter filter) {
  const auto weigh = filter == Filter::kBicubic ? bicubic : bilinear;
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);
  const double reach = (filter == Filter::kBicubic ? 2.0 : 1.0) * stretch;
  const double inverse = 1.0 / stretch;
  std::vector<Support> result(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - reach + 0.5), 0);
    const int64_t last = std::min(static_cast<int64_t>(center + reach + 0.5), from);
    std::vector<double> exact;
    double sum = 0.0;
    for (int64_t x = 0; x < last - first; ++x) {
      exact.push_back(weigh((static_cast<double>(x + first) - center + 0.5) * inverse));
      sum += exact.back();
    }
    Support& support = result[static_cast<size_t>(i)];
    support.first = first;
    for (double weight : exact) {
      if (sum != 0.0) weight /= sum;
      support.weights.push_back(
          static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kWeightBits)));
    }
  }
  return result;
}

uint8_t rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

at::Tensor resize_width(const at::Tensor& rgb, int64_t width, Filter filter) {
  const int64_t height = rgb.size(0), old_width = rgb.size(1);
  at::Tensor result = at::empty({height, width, 3}, at::kByte);
  const std::vector<Support> columns = supports(old_width, width, filter);
  const uint8_t* in = rgb.const_data_ptr<uint8_t>();
  uint8_t* out = result.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, height, 1, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      uint8_t* pixel = out + y * width * 3;
      for (const Support& column : columns) {
        int32_t sum[3] = {1 << (kWeightBits - 1), 1 << (kWeightBits - 1), 1 << (kWeightBits - 1)};
        const uint8_t* from = in + (y * old_width + column.first) * 3;
        for (const int32_t weight : column.weights) {
          for (int c = 0; c < 3; ++c) sum[c] += weight * from[c];
          from += 3;
        }
        for (int c = 0; c < 3; ++c) *pixel++ = rounded(sum[c]);
      }
    }
  });
  return result;
}

at::Tensor resize_height(const at::Tensor& rgb, int64_t height, Filter filter) {
  const int64_t size = rgb.size(1) * 3;
  at::Tensor result = at::empty({height, rgb.size(1), 3}, at::kByte);
  const std::vector<Support> rows = supports(rgb.size(0), height, filter);
  const uint8_t* in = rgb.const_data_ptr<uint8_t>();
  uint8_t* out = result.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, height, 1, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> sums(static_cast<size_t>(size));
    for (int64_t y = begin; y < end; ++y) {
      const Support& row = rows[static_cast<size_t>(y)];
      std::fill(sums.begin(), sums.end(), 1 << (kWeightBits - 1));
      const uint8_t* from = in + row.first * size;
      for (const int32_t weight : row.weights) {
        for (int64_t i = 0; i < size; ++i) sums[static_cast<size_t>(i)] += weight * from[i];
        from += size;
      }
      for (int64_t i = 0; i < size; ++i) out[y * size + i] = rounded(sums[static_cast<size_t>(i)]);
    }
  });
  return result;
}

}  // namespace

absl::StatusOr<at::Tensor> resize(const at::Tensor& rgb, int64_t height, int64_t width,
                                  Filter filter) {
  SWAGE_RETURN_IF_ERROR(check_picture(rgb));
  SWAGE_RETURN_IF_ERROR(annotate(check_size(height, width, Limits{kMaxPixels}), "resize"));
  at::Tensor result = rgb.contiguous();
  // Pillow's exception for very tall pictures.
  const bool tall = rgb.size(0) > rgb.size(1) * 100 && height < rgb.size(0);
  if (tall) result = resize_height(result, height, filter);
  if (width != rgb.size(1)) {
    // The picture between the passes can be larger than both ends.
    SWAGE_RETURN_IF_ERROR(
        annotate(check_size(result.size(0), width, Limits{kMaxPixels}), "resize"));
    result = resize_width(result, width, filter);
  }
  if (height != result.size(0)) result = resize_height(result, height, filter);
  return result;
}

}  // namespace swage::image
