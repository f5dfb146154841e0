#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "swage/codec.h"
#include "swage/scheme.h"
#include "tests/kit/fixture.h"

namespace swage {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kVectors = 65536;

const Codec& e8p(const char* granularity = "tensor") {
  static std::map<std::string, std::shared_ptr<const Codec>> made;
  auto& codec = made[granularity];
  if (codec == nullptr) codec = *make_codec(Scheme{"e8p", {{"granularity", granularity}}});
  return *codec;
}

Parts scaled_by(double scale) { return {{"scales", at::full({1, 1}, scale, at::kFloat)}}; }

// All vectors of the code by index.
const at::Tensor& vectors() {
  static const at::Tensor all = [] {
    Parts parts = scaled_by(1);
    parts["codes"] = at::arange(kVectors, at::kLong).to(at::kShort).view({kVectors, 1});
    return e8p().decode(parts, kVectors, 8);
  }();
  return all;
}

at::Tensor gaussians(int64_t rows, int64_t columns, uint32_t seed) {
  test::Generator random(seed);
  at::Tensor result = at::empty({rows, columns}, at::kDouble);
  double* to = result.mutable_data_ptr<double>();
  // Box and Muller: exact tails, unlike sums of uniform numbers.
  for (int64_t i = 0; i < result.numel(); ++i)
    to[i] = std::sqrt(-2 * std::log(1 - random.uniform())) * std::cos(2 * M_PI * random.uniform());
  return result;
}

TEST(E8p, HasAsManyDistinctVectorsAsIndices) {
  std::set<std::vector<float>> seen;
  const float* value = vectors().const_data_ptr<float>();
  for (int64_t n = 0; n < kVectors; ++n, value += 8) seen.insert({value, value + 8});
  EXPECT_EQ(seen.size(), static_cast<size_t>(kVectors));
}

TEST(E8p, VectorsAreShiftedHalfIntegersOfEvenSum) {
  const at::Tensor all = vectors();
  const at::Tensor up = (all - 0.75).frac().eq(0).all(1), down = (all - 0.25).frac().eq(0).all(1);
  EXPECT_EQ(up.sum().item<int64_t>(), kVectors / 2);
  EXPECT_EQ(down.sum().item<int64_t>(), kVectors / 2);
  const at::Tensor lattice = all - at::where(up, 0.25, -0.25).unsqueeze(1);
  EXPECT_TRUE(lattice.sum(1).remainder(2).eq(0).all().item<bool>());
  const at::Tensor norm = lattice.square().sum(1);
  EXPECT_EQ(norm.max().item<float>(), 12);
  EXPECT_EQ(norm.eq(12).sum().item<int64_t>(), 29 * 256);
  // Flipping two signs of one stays in the code.
  std::set<std::vector<float>> patterns;
  const at::Tensor absolute = lattice.abs().contiguous();
  const float* value = absolute.const_data_ptr<float>();
  for (int64_t n = 0; n < kVectors; ++n, value += 8) patterns.insert({value, value + 8});
  EXPECT_EQ(patterns.size(), 256u);
}

TEST(E8p, TakesTheNearestOfAllVectors) {
  const at::Tensor points = gaussians(1000, 8, 1) * 1.03;
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor x = points.to(type);
    const Parts parts = e8p().encode(x, scaled_by(1));
    const at::Tensor found =
        (e8p().decode(parts, 1000, 8).to(at::kDouble) - points).square().sum(1);
    const at::Tensor all = vectors().to(at::kDouble), norms = all.square().sum(1);
    at::Tensor least = at::full({1000}, 1e9, at::kDouble);
    for (int64_t first = 0; first < kVectors; first += 4096) {
      const at::Tensor some = all.narrow(0, first, 4096);
      least = least.minimum((norms.narrow(0, first, 4096) - points.mm(some.t()) * 2).amin(1));
    }
    least += points.square().sum(1);
    EXPECT_LT((found - least).abs().max().item<double>(), type == at::kFloat ? 1e-5 : 1e-12);
  }
}

double gaussian_error(double spread) {
  static const at::Tensor points = gaussians(40000, 8, 7);
  const Parts parts = e8p().encode(points, scaled_by(1 / spread));
  return (e8p().decode(parts, points.size(0), 8).to(at::kDouble) - points)
      .square()
      .mean()
      .item<double>();
}

TEST(E8p, HasThePublishedErrorOfGaussians) {
  const double best = gaussian_error(1.03);
  EXPECT_NEAR(best, .0923, .001);
  EXPECT_LT(best, gaussian_error(1.0));
  EXPECT_LT(best, gaussian_error(1.06));
}

TEST(E8p, ScalesByTheRootMeanSquare) {
  const at::Tensor weight = gaussians(6, 64, 3) * at::arange(1, 7, at::kDouble).view({6, 1});
  FitRequest request;
  request.scale_dtype = at::kDouble;
  const at::Tensor rows = part(*e8p("channel").fit(weight, request), "scales");
  EXPECT_LT((rows - weight.square().mean(1, true).sqrt() / 1.03).abs().max().item<double>(), 1e-14);
  const at::Tensor whole = part(*e8p("tensor").fit(weight, request), "scales");
  EXPECT_EQ(whole.sizes(), (at::IntArrayRef{1, 1}));
  EXPECT_NEAR(whole.item<double>(), weight.square().mean().sqrt().item<double>() / 1.03, 1e-14);
}

TEST(E8p, EncodingWhatWasDecodedChangesNothing) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    Parts parts = {{"scales", at::full({1, 1}, 0.0173, type)}};
    parts["codes"] = at::arange(kVectors, at::kLong).to(at::kShort).view({kVectors / 64, 64});
    const at::Tensor value = e8p().decode(parts, kVectors / 64, 512);
    EXPECT_EQ(e8p().decoded_type(parts), type);
    const Parts again = e8p().encode(value, {{"scales", part(parts, "scales")}});
    EXPECT_TRUE(at::equal(part(again, "codes"), part(parts, "codes")));
  }
}

TEST(E8p, TakesTwoBitsAWeight) {
  FitRequest request;
  request.scale_dtype = at::kBFloat16;
  const at::Tensor weight = gaussians(4, 64, 5);
  EXPECT_EQ(e8p().code_bits(), 2);
  EXPECT_EQ(e8p().level_bits(*e8p().fit(weight, request)), 16);
  EXPECT_EQ(e8p("channel").level_bits(*e8p("channel").fit(weight, request)), 4 * 16);
  EXPECT_EQ(e8p("channel").planned_level_bits(4, 64, at::kBFloat16), 4 * 16);
  EXPECT_EQ(e8p().block_columns(), 8);
}

TEST(E8p, RowsOfZerosStayZero) {
  at::Tensor weight = gaussians(3, 16, 9);
  weight[1].zero_();
  const Codec& codec = e8p("channel");
  const Parts parts = codec.encode(weight, *codec.fit(weight, {}));
  ASSERT_TRUE(codec.validate(parts, 3, 16).ok()) << codec.validate(parts, 3, 16);
  EXPECT_EQ(codec.decode(parts, 3, 16)[1].abs().max().item<float>(), 0);
}

TEST(E8p, ThreadsDoNotChangeAByte) {
  const at::Tensor weight = gaussians(64, 1024, 11).to(at::kFloat);
  const int before = at::get_num_threads();
  std::vector<at::Tensor> codes;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    codes.push_back(part(e8p().encode(weight, *e8p().fit(weight, {})), "codes"));
  }
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(codes[0], codes[1]));
}

TEST(E8p, RefusesWhatItCannotRound) {
  EXPECT_THAT(std::string(e8p().fit(at::zeros({2, 12}), {}).status().message()),
              HasSubstr("e8p rounds 8 columns at once, which does not divide the input width 12"));
  at::Tensor weight = at::zeros({2, 16});
  weight[1][9] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(std::string(e8p().fit(weight, {}).status().message()),
              HasSubstr("infinity at row 1, column 9"));
  FitRequest request;
  request.scale_dtype = at::kHalf;
  EXPECT_THAT(std::string(e8p().fit(at::ones({2, 16}) * 1e6, request).status().message()),
              HasSubstr("the scale of all rows does not fit Half"));
  EXPECT_THAT(std::string(e8p("channel").fit(at::ones({2, 16}) * 1e6, request).status().message()),
              HasSubstr("the scale of row 0 does not fit Half"));
  Parts parts = e8p().encode(at::ones({2, 16}), *e8p().fit(at::ones({2, 16}), {}));
  parts["codes"] = part(parts, "codes").to(at::kInt);
  EXPECT_THAT(std::string(e8p().validate(parts, 2, 16).message()),
              HasSubstr("codes is Int, expected Short"));
  EXPECT_THAT(std::string(e8p().validate(parts, 2, 12).message()), HasSubstr("a multiple of 8"));
}

}  // namespace
}  // namespace swage
