// Ranges of static activation schemes, from counts of the values that calibration saw.
#include "swage/quant/static_range.h"

#include <ATen/ops/zeros.h>
#include <c10/util/BFloat16.h>
#include <gmock/gmock.h>

#include <cmath>

#include "tests/kit/format_support.h"
#include "tests/kit/scheme.h"

namespace swage {
namespace {

// As the engine counts: by the bits of the nearest bf16.
at::Tensor counts_of(const at::Tensor& values) {
  at::Tensor counts = at::zeros({65536}, at::kLong);
  const at::Tensor flat = values.to(at::kFloat).contiguous().flatten();
  for (int64_t i = 0; i < flat.numel(); ++i)
    ++counts.mutable_data_ptr<int64_t>()[c10::BFloat16(flat.const_data_ptr<float>()[i]).x];
  return counts;
}

test::Format fixed(const std::string& format, const std::string& rule, test::Keys keys = {}) {
  keys.insert({{"dynamic", false}, {"static_range", rule}});
  if (format != "nvfp4") keys.emplace("granularity", "tensor");
  return test::weight(format, std::move(keys));
}

// Normal values, and two that are far out.
at::Tensor with_outliers() {
  test::Generator random(5);
  at::Tensor values = at::empty({20000});
  for (int64_t i = 0; i < values.numel(); ++i)
    values.mutable_data_ptr<float>()[i] = static_cast<float>(random.normal());
  values[7] = 40.f;
  values[11] = -64.f;
  return values;
}

quant::Ends ends(const test::Format& codec, const at::Tensor& values) {
  return quant::static_range(*codec, values.min().item<float>(), values.max().item<float>(),
                             counts_of(values));
}

double error(const test::Format& codec, const quant::Ends& ends, const at::Tensor& values) {
  const at::Tensor x = values.unsqueeze(0);
  return (codec->quantize_input(x, codec->input_levels(ends.low, ends.high)) - x)
      .square()
      .mean()
      .item<double>();
}

TEST(StaticRange, OfAllValuesHasTheirEndsAndItsHeadroom) {
  const at::Tensor values = with_outliers();
  const quant::Ends all = ends(fixed("int", "minmax"), values);
  EXPECT_EQ(all.low, -64);
  EXPECT_EQ(all.high, 40);
  const quant::Ends more = ends(fixed("int", "minmax", {{"headroom", 1.5}}), values);
  EXPECT_EQ(more.low, -96);
  EXPECT_EQ(more.high, 60);
}

TEST(StaticRange, APercentileLeavesOutTheRest) {
  at::Tensor values = at::empty({1000});
  for (int i = 0; i < 1000; ++i) values[i] = static_cast<float>(i - 400);
  // Magnitudes: 990 of 1000 are at most 589. Each tail of 99 % is one of 5 values.
  const quant::Ends even = ends(fixed("int", "percentile", {{"percentile", 99.0}}), values);
  EXPECT_NEAR(even.high, 589, 4);  // as bf16 tells them apart
  EXPECT_EQ(even.low, -400);
  const quant::Ends tails =
      ends(fixed("int", "percentile", {{"percentile", 99.0}, {"symmetric", false}}), values);
  EXPECT_NEAR(tails.low, -396, 2);
  EXPECT_NEAR(tails.high, 594, 4);
}

TEST(StaticRange, SearchesCutOffWhatCostsMoreThanItIsWorth) {
  const at::Tensor values = with_outliers();
  for (const char* rule : {"mse", "histogram"}) {
    const test::Format few = fixed("int", rule, {{"bits", int64_t{4}}});
    const quant::Ends cut = ends(few, values);
    EXPECT_LT(cut.high, 20) << rule;
    EXPECT_GT(cut.high, 2) << rule;
    EXPECT_LT(error(few, cut, values), error(few, {-64, 40}, values)) << rule;
  }
}

// A float's steps grow with its values: hardly anything is gained by cutting it off.
TEST(StaticRange, AHistogramKnowsTheStepsOfFloats) {
  const at::Tensor values = with_outliers();
  const test::Format fp8 = fixed("fp8-e4m3", "histogram");
  EXPECT_LT(error(fp8, ends(fp8, values), values), 2 * error(fp8, {-64, 40}, values));
}

TEST(StaticRange, ZerosStayZero) {
  const at::Tensor values = at::zeros({64});
  for (const char* rule : {"minmax", "percentile", "mse", "histogram"}) {
    const quant::Ends none = ends(fixed("int", rule), values);
    EXPECT_EQ(none.low, 0) << rule;
    EXPECT_EQ(none.high, 0) << rule;
  }
}

}  // namespace
}  // namespace swage
