#include "swage/compressed_linear.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swage/quant/quantizer.h"
#include "tests/kit/fixture.h"

namespace swage {
namespace {

using ::testing::HasSubstr;

CompressedLinear sample(bool symmetric = false) {
  Linear linear;
  linear.name = "layer.proj";
  linear.weight = test::f5().weight.to(at::kFloat);
  WeightScheme scheme;
  scheme.bits = 4;
  scheme.group_size = 64;
  scheme.symmetric = symmetric;
  auto result = quant::quantize(linear, scheme, at::kBFloat16);
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

std::string refusal(const CompressedLinear& linear) {
  return std::string(validate(linear).message());
}

TEST(CompressedLinear, CountsLogicalBits) {
  EXPECT_EQ(storage_bits(sample()), 32 * 64 * 4.3125);
  EXPECT_EQ(storage_bits(sample(true)), 32 * 64 * 4.25);
  CompressedLinear sparse = sample();
  sparse.mask = at::zeros({32, 64}, at::kBool);
  sparse.mask.narrow(1, 0, 32).fill_(true);
  EXPECT_EQ(storage_bits(sparse), 32 * 64 * (2 + 1 + .3125));
}

TEST(CompressedLinear, DecodesSidePaths) {
  CompressedLinear linear = sample();
  const at::Tensor plain = decode(linear);
  linear.outlier_index = at::tensor({3, 5, 31, 63}, at::kLong).view({2, 2});
  linear.outlier_value = at::tensor({1.5, -2.}, at::kFloat).to(at::kBFloat16);
  linear.mask = at::ones({32, 64}, at::kBool);
  linear.mask[0][1] = false;
  linear.low_rank_left = at::ones({32, 1}, at::kBFloat16);
  linear.low_rank_right = at::ones({1, 64}, at::kBFloat16) * 0.5;
  ASSERT_TRUE(validate(linear).ok()) << validate(linear);
  at::Tensor expected = plain.clone();
  expected[0][1] = 0;
  expected[3][5] = 1.5;
  expected[31][63] = -2.;
  EXPECT_TRUE(at::equal(decode(linear), expected + 0.5));
}

TEST(CompressedLinear, DecodesGroupsOfScatteredColumns) {
  CompressedLinear linear = sample();
  linear.scheme.group_size = 32;
  linear.scales = at::cat({linear.scales, linear.scales * 2}, 1);
  linear.zeros = at::cat({linear.zeros, linear.zeros}, 1);
  const at::Tensor contiguous = decode(linear);
  linear.g_idx = at::arange(0, 64, at::kInt).div(32, "floor").to(at::kInt);
  ASSERT_TRUE(validate(linear).ok()) << validate(linear);
  EXPECT_TRUE(at::equal(decode(linear), contiguous));
}

TEST(CompressedLinear, DecodesCodebooks) {
  CompressedLinear linear;
  linear.name = "vq";
  linear.out = 2;
  linear.in = 4;
  linear.scheme.bits = 2;
  linear.codes = at::tensor({0, 1, 2, 0}, at::kChar).view({2, 2});
  linear.codebook = at::tensor({1., 2., 3., 4., 5., 6.}, at::kFloat).to(at::kBFloat16).view({3, 2});
  ASSERT_TRUE(validate(linear).ok()) << validate(linear);
  EXPECT_TRUE(at::equal(decode(linear),
                        at::tensor({1., 2., 3., 4., 5., 6., 1., 2.}, at::kFloat).view({2, 4})));
  linear.codes[0][0] = 3;
  EXPECT_THAT(refusal(linear), HasSubstr("vq: codes is in 0 .. 3, expected 0 .. 2"));
}

TEST(CompressedLinear, ValidationNamesLinearAndField) {
  ASSERT_TRUE(validate(sample()).ok());
  CompressedLinear wide = sample();
  wide.codes = wide.codes.clone();
  wide.codes[3][4] = 8;
  EXPECT_THAT(refusal(wide), HasSubstr("layer.proj: codes is in -8 .. 8, expected -8 .. 7"));
  CompressedLinear shape = sample();
  shape.scales = shape.scales.narrow(0, 0, 31);
  EXPECT_THAT(refusal(shape), HasSubstr("layer.proj: scales is [31, 1], expected [32, 1]"));
  CompressedLinear broken = sample();
  broken.scales = broken.scales.clone();
  broken.scales[2][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(refusal(broken),
              HasSubstr("layer.proj: scales is not finite everywhere, expected finite numbers"));
  CompressedLinear missing = sample();
  missing.zeros = at::Tensor();
  EXPECT_THAT(
      refusal(missing),
      HasSubstr("layer.proj: zeros is missing, expected zero points in an asymmetric scheme"));
  CompressedLinear type = sample();
  type.codes = type.codes.to(at::kInt);
  EXPECT_THAT(refusal(type), HasSubstr("layer.proj: codes is Int, expected Char"));
  EXPECT_THAT(refusal(CompressedLinear{}), HasSubstr("expected rows and columns"));
}

TEST(CompressedLinear, DigestSeesEveryStoredBitAndNothingElse) {
  const CompressedLinear linear = sample();
  const std::string before = digest(linear);
  EXPECT_EQ(before.size(), 32u);
  CompressedLinear other = linear;
  other.provenance = "elsewhere";
  other.scheme.convention = Convention::kLlmc;
  EXPECT_EQ(digest(other), before);
  other.scales = linear.scales.clone();
  other.scales[7][0] = other.scales[7][0] * 2;
  EXPECT_NE(digest(other), before);
  other = linear;
  other.codes = linear.codes.clone();
  other.codes[31][63] = -other.codes[31][63] - 1;
  EXPECT_NE(digest(other), before);
  EXPECT_NE(digest(linear.codes), digest(linear.codes.flatten()));
  EXPECT_EQ(digest(linear.codes.t()), digest(linear.codes.t().contiguous()));
}

}  // namespace
}  // namespace swage
