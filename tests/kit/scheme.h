#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "swage/linear.h"
#include "swage/quant/quantizer.h"
#include "swage/quant/scalar_grid.h"

// Number formats for tests, written as TOML writes them: weight("int", {{"bits", 4}, …}).
namespace swage::test {

using Format = std::shared_ptr<const Codec>;
using Keys = Value::Table;

// Keys that are not given have the defaults of the format.
inline Format weight(const std::string& format, Keys keys = {}) {
  auto codec = make_codec(Scheme{format, std::move(keys)});
  EXPECT_TRUE(codec.ok()) << codec.status();
  return *std::move(codec);
}

// An activation scheme is told by its key `dynamic`.
inline Format inputs(const std::string& format, Keys keys = {}) {
  keys.emplace("dynamic", true);
  return weight(format, std::move(keys));
}

// The same format with other values for some keys.
inline Format with(const Format& format, const Keys& keys) {
  Scheme scheme = format->scheme();
  for (const auto& [key, value] : keys) scheme.keys.insert_or_assign(key, value);
  return weight(scheme.format, std::move(scheme.keys));
}

inline FitRequest request(at::ScalarType storage, const at::Tensor& low = {},
                          const at::Tensor& high = {}) {
  FitRequest result;
  result.scale_dtype = storage;
  result.clip_low = low;
  result.clip_high = high;
  return result;
}

inline Target target(const Format& format, at::ScalarType storage) {
  return {format, request(storage)};
}

inline Parts levels_of(const at::Tensor& weight, const Format& format, const FitRequest& request) {
  auto levels = format->fit(weight, request);
  EXPECT_TRUE(levels.ok()) << levels.status();
  return *std::move(levels);
}

// Why the format cannot hold the weight.
inline std::string refusal(const at::Tensor& weight, const Format& format, at::ScalarType storage) {
  return std::string(format->fit(weight, request(storage)).status().message());
}

// The grid of given levels of a scalar format, and that of a weight's own.
inline quant::ScalarGrid grid_on(const Parts& levels, const Format& format, int64_t out,
                                 int64_t in) {
  auto grid = format->grid(levels, out, in);
  EXPECT_TRUE(grid.ok()) << grid.status();
  return *std::move(grid);
}

inline quant::ScalarGrid grid_of(const at::Tensor& weight, const Format& format,
                                 at::ScalarType storage = at::kDouble, const at::Tensor& low = {},
                                 const at::Tensor& high = {}) {
  return grid_on(levels_of(weight, format, request(storage, low, high)), format, weight.size(0),
                 weight.size(1));
}

// The weight rounded to nearest, fp64 where it is fp64.
inline at::Tensor rounded(const at::Tensor& weight, const Format& format,
                          at::ScalarType storage = at::kDouble) {
  return quant::round_trip(weight, grid_of(weight, format, storage));
}

// What a method without calibration stores of a weight within limits.
inline Result quantized(const at::Tensor& weight, const Format& format, at::ScalarType storage,
                        const at::Tensor& low = {}, const at::Tensor& high = {}) {
  Linear linear;
  linear.name = "layer.proj";
  linear.weight = weight;
  linear.clip_low = low;
  linear.clip_high = high;
  auto result = quant::quantize(linear, target(format, storage));
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

}  // namespace swage::test
