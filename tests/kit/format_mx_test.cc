// The golden numbers of microscaling and of NVFP4.
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <cmath>

#include "swage/quant/scalar_codec.h"
#include "tests/kit/format_support.h"

namespace swage::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

at::Tensor eight() { return at::tensor({.11f, -.52f, 1.30f, 2.9f, -7.3f, .02f, 3.3f, 5.1f}); }
at::Tensor block() { return eight().repeat({1, 4}); }  // [1, 32]

double mean_square(const at::Tensor& decoded, const at::Tensor& weight) {
  return (decoded - weight).to(at::kDouble).square().mean().item<double>();
}

std::vector<float> first_eight(const at::Tensor& decoded) {
  const at::Tensor row = decoded.flatten().narrow(0, 0, 8).contiguous();
  return {row.const_data_ptr<float>(), row.const_data_ptr<float>() + 8};
}

std::vector<int> bytes_of(const at::Tensor& tensor) {
  const at::Tensor bytes = tensor.contiguous().view(at::kByte).flatten();
  return {bytes.const_data_ptr<uint8_t>(), bytes.const_data_ptr<uint8_t>() + bytes.numel()};
}

TEST(Mxfp4, TakesThePowerOfTwoBelowTheLargestMagnitude) {
  const auto codec = codec_of("mxfp4");
  const Parts parts = quantized(*codec, block());
  EXPECT_THAT(bytes_of(part(parts, "scales")), ElementsAre(127));
  const at::Tensor decoded = codec->decode(parts, 1, 32);
  EXPECT_THAT(first_eight(decoded), ElementsAre(0, -.5, 1.5, 3, -6, 0, 3, 6));
  EXPECT_NEAR(mean_square(decoded, block()), .3316125, 1e-7);
}

TEST(Mxfp4, OrThatAboveIt) {
  const auto codec = codec_of("mxfp4", {{"scale_rule", "ceil"}});
  const Parts parts = quantized(*codec, block());
  EXPECT_THAT(bytes_of(part(parts, "scales")), ElementsAre(128));
  const at::Tensor decoded = codec->decode(parts, 1, 32);
  EXPECT_THAT(first_eight(decoded), ElementsAre(0, -1, 1, 3, -8, 0, 3, 6));
  EXPECT_NEAR(mean_square(decoded, block()), .2166125, 1e-7);
}

TEST(Mxfp4, OrFourThirdsOfThatBelowIt) {
  const auto codec = codec_of("mxfp4", {{"scale_rule", "four-thirds"}, {"decoded", "fp32"}});
  const Parts parts = quantized(*codec, block());
  EXPECT_THAT(bytes_of(part(parts, "scales")), ElementsAre(129));  // 2^2 / 3
  const at::Tensor decoded = codec->decode(parts, 1, 32);
  EXPECT_THAT(first_eight(decoded),
              testing::Pointwise(testing::FloatNear(1e-4f),
                                 {0.f, -.6667f, 1.3333f, 2.6667f, -8.f, 0.f, 2.6667f, 5.3333f}));
  EXPECT_NEAR(mean_square(decoded, block()), .12939028, 1e-7);
  const Parts again = codec->encode(decoded, {{"scales", part(parts, "scales")}});
  EXPECT_TRUE(part(again, "codes").equal(part(parts, "codes")));
  EXPECT_NE(codec->form(), codec_of("mxfp4", {{"decoded", "fp32"}})->form());
  // The greatest of all: 6 under a third of 2^126 is 2^127.
  const at::Tensor most = at::full({1, 32}, std::numeric_limits<float>::max());
  EXPECT_TRUE(round_trip(*codec, most).isfinite().all().item<bool>());
  EXPECT_EQ(round_trip(*codec, at::zeros({1, 32})).abs().sum().item<float>(), 0);
}

TEST(Mxfp4, RulesDifferInWhatTheyDoAboveAPowerOfTwo) {
  const auto exponent = [](const char* format, const char* rule, double greatest) {
    const auto codec = codec_of(format, {{"scale_rule", rule}});
    at::Tensor weight = at::zeros({1, 32});
    weight[0][3] = -greatest;
    return part(quantized(*codec, weight), "scales").item<int>() - 127;
  };
  for (const double scale : {1.0, std::exp2(-60), std::exp2(60)}) {
    const int by = std::ilogb(scale);
    EXPECT_EQ(exponent("mxfp4", "floor", 4 * scale), by);
    EXPECT_EQ(exponent("mxfp4", "ceil", 4 * scale), by);
    EXPECT_EQ(exponent("mxfp4", "even", 4 * scale), by);
    EXPECT_EQ(exponent("mxfp4", "floor", 7.999 * scale), by);
    EXPECT_EQ(exponent("mxfp4", "ceil", 4.001 * scale), by + 1);
    // 6.99 rounds to 6, 7 would round to 8.
    EXPECT_EQ(exponent("mxfp4", "even", 6.99 * scale), by);
    EXPECT_EQ(exponent("mxfp4", "even", 7 * scale), by + 1);
    EXPECT_EQ(exponent("mxfp6", "even", 7.74 * scale), by);
    EXPECT_EQ(exponent("mxfp6", "even", 7.75 * scale), by + 1);
    EXPECT_EQ(exponent("mxfp8", "even", 447 * scale), by);
    EXPECT_EQ(exponent("mxfp8", "even", 448 * scale), by + 1);
  }
}

// Importances that differ by more could put it beyond the ends of the search.
TEST(Mxfp4, AWeightedSearchFindsTheBestOfAllPowersOfTwo) {
  const at::Tensor weight = random_matrix(16, 256),
                   importance = random_matrix(1, 256, 7).abs()[0] + 0.05;
  FitRequest request;
  request.importance = importance;
  for (const char* rule : {"floor", "ceil", "even", "four-thirds"}) {
    const auto codec =
        codec_of("mxfp4", {{"range", "weighted"}, {"decoded", "fp32"}, {"scale_rule", rule}});
    const Parts fitted = quantized(*codec, weight, request);
    const auto cost = [&](int shift) {
      const at::Tensor scales = (part(fitted, "scales").to(at::kInt) + shift).to(at::kByte);
      const Parts parts = codec->encode(weight, {{"scales", scales}});
      const at::Tensor error = codec->decode(parts, 16, 256) - weight;
      return (error.to(at::kDouble).square() * importance).view({16, 8, 32}).sum(2);
    };
    const at::Tensor best = cost(0);
    for (int shift = -5; shift <= 5; ++shift)
      EXPECT_LE((best / cost(shift)).max().item<double>(), 1 + 1e-5) << rule << " " << shift;
  }
}

TEST(Mxfp4, IsExactForMultiplesOfItsGridAndMovesWithPowersOfTwo) {
  const at::Tensor grid = at::tensor({0.f, .5f, 1.f, 1.5f, 2.f, 3.f, 4.f, 6.f}).repeat({3, 4});
  const auto codec = codec_of("mxfp4");
  EXPECT_TRUE(round_trip(*codec, grid * 0.25).equal(grid * 0.25));
  const at::Tensor weight = random_matrix(6, 96);
  EXPECT_TRUE(round_trip(*codec, weight * 2).equal(round_trip(*codec, weight) * 2));
  EXPECT_TRUE(round_trip(*codec, -weight).equal(-round_trip(*codec, weight)));
}

TEST(Mxfp4, SaturatesOnlyByTheRuleFloor) {
  const at::Tensor weight = random_matrix(20, 256);
  const auto cut = [&](const char* rule) {
    const at::Tensor decoded = round_trip(*codec_of("mxfp4", {{"scale_rule", rule}}), weight);
    const auto greatest = [](const at::Tensor& x) { return x.abs().view({20, -1, 32}).amax(2); };
    // Rounding alone takes a fifth at most.
    return greatest(decoded).lt(greatest(weight) * 0.79).any().item<bool>();
  };
  EXPECT_TRUE(cut("floor"));
  EXPECT_FALSE(cut("ceil"));
}

TEST(Mxfp4, HalvesGoToEven) {
  at::Tensor weight = at::zeros({1, 32});
  const std::vector<float> values = {.25f, .75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.f, 6.5f};
  for (size_t i = 0; i < values.size(); ++i) weight[0][static_cast<int64_t>(i)] = values[i];
  EXPECT_THAT(first_eight(round_trip(*codec_of("mxfp4"), weight)),
              ElementsAre(0, 1, 1, 2, 2, 4, 4, 6));
}

TEST(Mxfp6, HasTwoKindsOfElements) {
  EXPECT_NEAR(mean_square(round_trip(*codec_of("mxfp6", {{"element", "e2m3"}}), block()), block()),
              .008253125, 3e-8);
  EXPECT_NEAR(mean_square(round_trip(*codec_of("mxfp6", {{"element", "e3m2"}}), block()), block()),
              .0191149414, 3e-8);
  EXPECT_EQ(codec_of("mxfp6")->describe(), "mxfp6 e2m3");
}

TEST(Mxfp8, HasTwoKindsOfElements) {
  const auto codec = codec_of("mxfp8");
  const Parts parts = quantized(*codec, block());
  EXPECT_THAT(bytes_of(part(parts, "scales")), ElementsAre(127 - 6));
  EXPECT_EQ(part(parts, "codes").scalar_type(), at::kFloat8_e4m3fn);
  EXPECT_NEAR(mean_square(codec->decode(parts, 1, 32), block()), .0144250763, 3e-8);
  const auto wide = codec_of("mxfp8", {{"element", "e5m2"}});
  const Parts wide_parts = quantized(*wide, block());
  EXPECT_EQ(part(wide_parts, "codes").scalar_type(), at::kFloat8_e5m2);
  EXPECT_THAT(bytes_of(part(wide_parts, "scales")), ElementsAre(127 - 13));
}

// Of every scale that a byte can be, with every code.
TEST(Mx, DecodesAllCodesUnderAllScales) {
  for (const char* format : {"mxfp4", "mxfp6", "mxfp8"}) {
    const auto codec = codec_of(format, {{"decoded", "fp32"}});
    const auto* scalar = dynamic_cast<const quant::ScalarCodec*>(codec.get());
    ASSERT_NE(scalar, nullptr);
    for (int byte = 0; byte < 256; ++byte) {
      at::Tensor codes = at::empty({1, 256}, at::kByte);
      for (int code = 0; code < 256; ++code)
        codes[0][code] = std::isnan(scalar->table().values()[code]) ? 0 : code;
      const Parts parts = {{"codes", codes.view(scalar->table().type())},
                           {"scales", at::full({1, 8}, byte, at::kByte)}};
      const absl::Status valid = codec->validate(parts, 1, 256);
      if (byte == 255) {
        EXPECT_THAT(std::string(valid.message()), HasSubstr("scales is in 255 .. 255"));
        continue;
      }
      ASSERT_TRUE(valid.ok()) << valid;
      const at::Tensor decoded = codec->decode(parts, 1, 256);
      for (int code = 0; code < 256; ++code) {
        const float value = scalar->table().values()[codes[0][code].item<uint8_t>()];
        const double expected = std::ldexp(static_cast<double>(value), byte - 127);
        ASSERT_EQ(decoded[0][code].item<float>(), static_cast<float>(expected))
            << format << " " << byte << " " << code;
      }
    }
  }
}

TEST(Mx, ZerosHaveTheLeastScale) {
  for (const char* format : {"mxfp4", "mxfp6", "mxfp8"}) {
    const Parts parts = quantized(*codec_of(format), at::zeros({2, 64}));
    EXPECT_THAT(bytes_of(part(parts, "scales")), ElementsAre(0, 0, 0, 0));
  }
}

TEST(Nvfp4, HasTwoLevelsOfScales) {
  const at::Tensor x = eight().repeat({1, 2});
  const at::Tensor weight = at::cat({x * .03f, x}, 1);
  const auto codec = codec_of("nvfp4", {{"decoded", "fp32"}});
  const Parts parts = quantized(*codec, weight);
  EXPECT_NEAR(part(parts, "outer_scales").item<double>(), 368.2191780822, 1e-4);
  EXPECT_EQ(part(parts, "scales").scalar_type(), at::kFloat8_e4m3fn);
  EXPECT_TRUE(part(parts, "scales").to(at::kFloat).equal(at::tensor({13.f, 448.f}).view({1, 2})));
  const at::Tensor decoded = codec->decode(parts, 1, 32);
  const std::vector<double> small = {0,          -.01765253, .03530506, .07061012,
                                     -.21183036, 0,          .10591518, .14122024};
  const std::vector<double> large = {0,    -.60833333, 1.21666667, 2.43333333,
                                     -7.3, 0,          3.65,       4.86666667};
  for (int64_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(decoded[0][i].item<double>(), small[i], 1e-7);
    EXPECT_NEAR(decoded[0][16 + i].item<double>(), large[i], 1e-6);
  }
  EXPECT_NEAR(mean_square(decoded, weight), .0264065734, 1e-8);
}

TEST(Nvfp4, StoresTheDivisorAndTheBytesOfCompressedTensors) {
  at::Tensor weight = at::zeros({1, 32});
  // A group of greatest magnitude 1 beside one of 2.
  const std::vector<float> codes = {0.5f, -6, 1, -0.0f, 2, 3, -1.5f, 4};
  for (size_t i = 0; i < codes.size(); ++i) weight[0][static_cast<int64_t>(i)] = codes[i] / 6;
  weight[0][16] = 2;
  const Parts parts = quantized(*codec_of("nvfp4"), weight);
  EXPECT_EQ(part(parts, "outer_scales").item<float>(), 1344);
  EXPECT_EQ(bytes_of(part(parts, "scales"))[0], 0x76);
  const std::vector<int> stored = bytes_of(part(parts, "codes"));
  std::vector<int> packed;
  for (size_t i = 0; i < 8; i += 2) packed.push_back(stored[i] | stored[i + 1] << 4);
  EXPECT_THAT(packed, ElementsAre(0xF1, 0x82, 0x54, 0x6B));
}

// compressed-tensors unpacks to bf16 and multiplies by scale / divisor in fp32.
TEST(Nvfp4, RoundsOnceToWhatItDecodesTo) {
  const at::Tensor weight = random_matrix(7, 64);
  const Parts parts = quantized(*codec_of("nvfp4"), weight);
  const at::Tensor exact = codec_of("nvfp4", {{"decoded", "fp32"}})->decode(parts, 7, 64);
  for (const auto& [name, type] :
       {std::pair("bf16", at::kBFloat16), std::pair("fp16", at::kHalf)}) {
    const at::Tensor decoded = codec_of("nvfp4", {{"decoded", name}})->decode(parts, 7, 64);
    EXPECT_TRUE(decoded.equal(exact.to(type).to(at::kFloat))) << name;
  }
}

TEST(Nvfp4, MovesWithPowersOfTwo) {
  const at::Tensor weight = random_matrix(6, 96);
  const auto codec = codec_of("nvfp4");
  EXPECT_TRUE(round_trip(*codec, weight * 8).equal(round_trip(*codec, weight) * 8));
}

TEST(Nvfp4, BlocksOfZerosHaveAScale) {
  at::Tensor weight = random_matrix(2, 32);
  weight.narrow(1, 0, 16).fill_(0);
  const auto codec = codec_of("nvfp4");
  const Parts parts = quantized(*codec, weight);
  EXPECT_EQ(part(parts, "scales").to(at::kFloat)[0][0].item<float>(), 0.125f);
  EXPECT_TRUE(codec->decode(parts, 2, 32).narrow(1, 0, 16).eq(0).all().item<bool>());
}

TEST(Nvfp4, SmallBlocksBesideALargeOneKeepTheLeastScale) {
  at::Tensor weight = at::full({1, 32}, 3e-7f);
  weight[0][16] = 1;
  const auto codec = codec_of("nvfp4");
  const Parts parts = quantized(*codec, weight);
  EXPECT_EQ(bytes_of(part(parts, "scales"))[0], 1);
  EXPECT_GT(codec->decode(parts, 1, 32)[0][0].item<float>(), 1e-7f);
}

TEST(Nvfp4, WhatEnginesFuseHasOneDivisor) {
  const at::Tensor query = random_matrix(8, 64, 1), key = random_matrix(8, 64, 2) * 3;
  const auto outer = [](const Value::Table& keys, const at::Tensor& weight, FitRequest request) {
    return part(quantized(*codec_of("nvfp4", keys), weight, request), "outer_scales").item<float>();
  };
  FitRequest of_query, of_key;
  of_query.fused = {key};
  of_key.fused = {query};
  const float shared = outer({}, query, of_query);
  EXPECT_EQ(shared, outer({}, key, of_key));
  EXPECT_EQ(shared, outer({}, key, {}));
  EXPECT_EQ(outer({{"share", "none"}}, query, of_query), outer({}, query, {}));
  EXPECT_LT(shared, outer({}, query, {}));
}

// The sweep contains every scale between 1.8 times the range and a fifth: four over six with it.
TEST(Nvfp4, TheSweepIsAtLeastAsGoodAsFourOverSix) {
  const at::Tensor weight = random_matrix(30, 64);
  const auto codec = codec_of("nvfp4", {{"decoded", "fp32"}, {"range", "weighted"}});
  const Parts parts = quantized(*codec, weight);
  const at::Tensor error =
      (codec->decode(parts, 30, 64) - weight).square().view({30, 4, 16}).sum(2);
  const at::Tensor greatest = weight.abs().view({30, 4, 16}).amax(2);
  int wider = 0;
  for (const double divisor : {6.0, 4.0}) {
    Parts other = parts;
    const at::Tensor outer = part(parts, "outer_scales");
    other["scales"] = (greatest / divisor * outer).clamp_max(448).to(at::kFloat8_e4m3fn);
    const at::Tensor decoded = codec->decode(codec->encode(weight, other), 30, 64);
    const at::Tensor its = (decoded - weight).square().view({30, 4, 16}).sum(2);
    EXPECT_TRUE(error.le(its * 1.0001 + 1e-12).all().item<bool>()) << divisor;
    wider += part(parts, "scales").to(at::kFloat).gt(greatest / 5 * outer).sum().item<int>();
  }
  EXPECT_GT(wider, 0);
}

TEST(Nvfp4, InputsHaveOneScaleFromCalibrationAndThoseOfGroupsFollow) {
  const auto codec = codec_of("nvfp4", {{"dynamic", false}});
  const Parts fixed = codec->input_levels(-1.5f, 2.f);
  ASSERT_EQ(fixed.size(), 1u);
  EXPECT_EQ(part(fixed, "outer_scales").item<float>(), 1344);
  const at::Tensor x = random_matrix(5, 64);
  const at::Tensor y = codec->quantize_input(x, fixed);
  EXPECT_LT((y - x).abs().max().item<double>(), 0.2);
  // Tokens do not see each other.
  EXPECT_TRUE(codec->quantize_input(x.narrow(0, 2, 1), fixed).equal(y.narrow(0, 2, 1)));
  // Without a fixed one the scale is that of the sequence.
  const auto dynamic = codec_of("nvfp4", {{"dynamic", true}});
  EXPECT_TRUE(dynamic->input_levels(-1, 1).empty());
  const at::Tensor z = dynamic->quantize_input(x, {});
  const auto weights = codec_of("nvfp4", {{"decoded", "fp32"}});
  EXPECT_TRUE(z.equal(round_trip(*weights, x)));
}

TEST(Mx, InputsAreRoundedAsWeightsAreGroupByGroup) {
  const at::Tensor x = random_matrix(5, 64).view({5, 1, 64});
  for (const char* format : {"mxfp4", "mxfp6", "mxfp8"}) {
    const auto codec = codec_of(format, {{"decoded", "fp32"}});
    EXPECT_TRUE(
        codec->quantize_input(x, {}).view({5, 64}).equal(round_trip(*codec, x.view({5, 64}))));
    EXPECT_TRUE(codec->input_levels(-1, 1).empty());
  }
}

TEST(Mx, TakesEightBitsAScaleAndNvfp4ThirtyTwoMore) {
  EXPECT_EQ(codec_of("mxfp4")->planned_level_bits(6, 64, at::kBFloat16), 12 * 8);
  EXPECT_EQ(codec_of("nvfp4")->planned_level_bits(6, 64, at::kBFloat16), 24 * 8 + 32);
  EXPECT_EQ(codec_of("mxfp4")->code_bits(), 4);
  EXPECT_EQ(codec_of("mxfp6")->code_bits(), 6);
  EXPECT_EQ(codec_of("mxfp8")->code_bits(), 8);
}

}  // namespace
}  // namespace swage::test
