// Floats of 8, 6 and 4 bits under floating-point scales: golden vectors, groups and blocks.
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include <cmath>

#include "swage/quant/scalar_codec.h"
#include "swage/quant/scalar_grid.h"
#include "tests/kit/format_support.h"

namespace swage::test {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

// The grid of a format with scale 1.
quant::ScalarGrid unit_grid(const Codec& codec, int64_t columns) {
  const auto* scalar = dynamic_cast<const quant::ScalarCodec*>(&codec);
  EXPECT_NE(scalar, nullptr);
  quant::ScalarGrid grid;
  grid.table = quant::ScalarTable::Pointer(quant::ScalarTable::Pointer(), &scalar->table());
  grid.scale = at::ones({1, 1});
  grid.width = columns;
  return grid;
}

struct Rounded {
  std::vector<int> codes;
  std::vector<float> values;
};

Rounded rounded(const std::string& format, const std::vector<float>& values) {
  const auto codec = codec_of(format);
  const auto count = static_cast<int64_t>(values.size());
  const quant::ScalarGrid grid = unit_grid(*codec, count);
  const at::Tensor codes =
      quant::encode(at::tensor(at::ArrayRef<float>(values)).view({1, count}), grid);
  const at::Tensor decoded = quant::decode(codes, grid).contiguous();
  const at::Tensor bytes = codes.contiguous().view(at::kByte);
  return {{bytes.const_data_ptr<uint8_t>(), bytes.const_data_ptr<uint8_t>() + count},
          {decoded.const_data_ptr<float>(), decoded.const_data_ptr<float>() + count}};
}

std::vector<float> values_of(const std::string& format) {
  const auto codec = codec_of(format);
  return unit_grid(*codec, 1).table->sorted();
}

TEST(Fp8, HasTheBytesOfTheGoldenVectors) {
  EXPECT_THAT(rounded("fp8-e4m3", {1, .5, 448, 0x1p-6f, 0x1p-9f, .1f, 17, 18, 3.3f}).codes,
              ElementsAre(0x38, 0x30, 0x7E, 0x08, 0x01, 0x1D, 0x58, 0x59, 0x45));
}

TEST(Fp8, RoundsToEvenAndSaturates) {
  EXPECT_THAT(rounded("fp8-e4m3", {.001f, .0009765625f, .00146484375f, .017f, 1.0625f, 1.1875f, 300,
                                   447, 1e6f, -1e6f})
                  .values,
              ElementsAre(.001953125f, 0, .001953125f, .017578125f, 1, 1.25f, 288, 448, 448, -448));
  EXPECT_THAT(rounded("fp8-e5m2", {1e-5f, 1.125f, 1.375f, 1e9f}).values,
              ElementsAre(1.52587890625e-05f, 1, 1.5f, 57344));
}

TEST(Fp8, RoundsTheFurtherGoldenNumbers) {
  EXPECT_THAT(
      rounded("fp8-e4m3", {.1f, .3f, 1.06f, 17, 18, 19, 300, 432, 464, .001f, 0x1p-10f, .002f})
          .values,
      ElementsAre(.1015625f, .3125f, 1, 16, 18, 20, 288, 448, 448, .001953125f, 0, .001953125f));
  // 3.5 / 448 = 2^-7: 1 becomes 128.
  const at::Tensor weight = at::tensor({3.5f, 1.f}).view({1, 2});
  const Parts parts = quantized(*codec_of("fp8-e4m3", {{"granularity", "tensor"}}), weight);
  EXPECT_EQ(part(parts, "scales").item<float>(), 0x1p-7f);
  EXPECT_EQ(part(parts, "codes").view(at::kByte)[0][1].item<int>(), 0x70);
}

TEST(Fp8, HasTheValuesOfTheStandard) {
  const std::vector<float> e4m3 = values_of("fp8-e4m3"), e5m2 = values_of("fp8-e5m2");
  EXPECT_EQ(e4m3.size(), 253u);  // 254 finite codes, of which two are zero
  EXPECT_EQ(e4m3.back(), 448);
  EXPECT_EQ(e5m2.size(), 247u);
  EXPECT_EQ(e5m2.back(), 57344);
}

TEST(Fp8, ErrsByAHalfOfItsLastPlaceAtMost) {
  const at::Tensor x = random_matrix(1, 512).abs() + 0.1;
  for (const auto& [format, most] :
       {std::pair("fp8-e4m3", 0x1p-4), std::pair("fp8-e5m2", 0x1p-3)}) {
    const auto codec = codec_of(format);
    const quant::ScalarGrid grid = unit_grid(*codec, 512);
    const at::Tensor error = (quant::round_trip(x, grid) - x).abs() / x;
    EXPECT_LE(error.max().item<double>(), most) << format;
    EXPECT_GT(error.max().item<double>(), most * 0.8) << format;
  }
}

// torch's own cast is the reference for codes within the range.
TEST(Fp8, RoundsAsTheCastsOfTorchDo) {
  const at::Tensor x = random_matrix(40, 512) * 100;
  for (const auto& [format, type] :
       {std::pair("fp8-e4m3", at::kFloat8_e4m3fn), std::pair("fp8-e5m2", at::kFloat8_e5m2)}) {
    const auto codec = codec_of(format);
    quant::ScalarGrid grid = unit_grid(*codec, 512);
    grid.height = 40;
    const at::Tensor codes = quant::encode(x, grid);
    EXPECT_TRUE(same_bits(codes, x.to(type))) << format;
  }
}

TEST(Fp6, HasTheValuesOfTheStandard) {
  std::vector<float> e2m3, e3m2;
  for (int code = 0; code < 32; ++code) {
    const int mantissa8 = code % 8, exponent8 = code / 8, mantissa4 = code % 4,
              exponent4 = code / 4;
    e2m3.push_back(static_cast<float>(
        exponent8 == 0 ? mantissa8 / 8.0 : std::ldexp(1 + mantissa8 / 8.0, exponent8 - 1)));
    e3m2.push_back(static_cast<float>(
        exponent4 == 0 ? mantissa4 / 16.0 : std::ldexp(1 + mantissa4 / 4.0, exponent4 - 3)));
  }
  EXPECT_EQ(e2m3.back(), 7.5f);
  EXPECT_EQ(e3m2.back(), 28);
  for (const auto& [format, expected] :
       {std::pair("fp6-e2m3", &e2m3), std::pair("fp6-e3m2", &e3m2)}) {
    const Rounded result = rounded(format, *expected);
    EXPECT_THAT(result.values, ElementsAreArray(*expected)) << format;
    for (int code = 0; code < 32; ++code) EXPECT_EQ(result.codes[code], code) << format;
    EXPECT_EQ(codec_of(format)->code_bits(), 6);
  }
  EXPECT_THAT(rounded("fp6-e3m2", {100, -100}).codes, ElementsAre(31, 63));
}

TEST(Fp4, HasTheValuesOfTheStandardAndHalvesGoToEven) {
  EXPECT_THAT(rounded("fp4", {0, .5f, 1, 1.5f, 2, 3, 4, 6, -.5f, -6}).codes,
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 9, 15));
  EXPECT_THAT(rounded("fp4", {.25f, .75f, 1.25f, 1.75f, 2.5f, 3.5f, 5, 7, 1e9f}).values,
              ElementsAre(0, 1, 1, 2, 2, 4, 4, 6, 6));
  EXPECT_EQ(codec_of("fp4")->code_bits(), 4);
}

// Every format against its definition: scale = largest magnitude / largest value, rounded to the
// dtype of scales, of whatever shares it.
void expect_extent(const std::string& format, const Value::Table& keys, int64_t rows,
                   int64_t columns) {
  const int64_t out = 70, in = 192;
  const at::Tensor weight = random_matrix(out, in);
  const auto codec = codec_of(format, keys);
  FitRequest request;
  request.scale_dtype = at::kBFloat16;
  const Parts parts = quantized(*codec, weight, request);
  const at::Tensor scales = part(parts, "scales");
  ASSERT_EQ(scales.sizes(),
            (std::vector<int64_t>{(out + rows - 1) / rows, (in + columns - 1) / columns}));
  ASSERT_EQ(scales.scalar_type(), at::kBFloat16);
  const float greatest = values_of(format).back();
  const at::Tensor decoded = codec->decode(parts, out, in);
  for (int64_t r = 0; r < scales.size(0); ++r) {
    for (int64_t c = 0; c < scales.size(1); ++c) {
      const auto piece = [&](const at::Tensor& of) {
        return of.slice(0, r * rows, std::min(out, (r + 1) * rows))
            .slice(1, c * columns, std::min(in, (c + 1) * columns));
      };
      const at::Tensor scale = (piece(weight).abs().max() / greatest).to(at::kBFloat16);
      EXPECT_TRUE(scales[r][c].equal(scale)) << r << " " << c;
      const at::Tensor codes = piece(part(parts, "codes")).contiguous();
      quant::ScalarGrid grid = unit_grid(*codec, codes.size(1));
      grid.height = codes.size(0);
      const at::Tensor values = quant::decode(codes, grid);
      EXPECT_TRUE(
          piece(decoded).equal((values * scale.to(at::kFloat)).to(at::kBFloat16).to(at::kFloat)));
    }
  }
}

TEST(Floats, HaveAScaleForATensorARowAGroupOrABlock) {
  for (const char* format : {"fp8-e4m3", "fp8-e5m2", "fp6-e2m3", "fp6-e3m2", "fp4"}) {
    SCOPED_TRACE(format);
    expect_extent(format, {{"granularity", "tensor"}}, 70, 192);
    expect_extent(format, {{"granularity", "channel"}}, 1, 192);
    expect_extent(format, {{"granularity", "group"}, {"group", 64}}, 1, 64);
    // Blocks at the edges are smaller.
    expect_extent(format, {{"granularity", "block"}}, 128, 128);
    expect_extent(format, {{"granularity", "block"}, {"block_rows", 32}, {"block_columns", 80}}, 32,
                  80);
  }
}

TEST(Floats, OneScaleOfTheTensorIsSharedWithWhatEnginesFuse) {
  const at::Tensor query = random_matrix(8, 64, 1), key = random_matrix(8, 64, 2) * 3;
  FitRequest request;
  request.fused = {key};
  const Value::Table keys = {{"granularity", "tensor"}, {"share", "fused"}};
  for (const char* format : {"fp8-e4m3", "fp6-e3m2", "fp4"}) {
    const at::Tensor shared = part(quantized(*codec_of(format, keys), query, request), "scales");
    EXPECT_TRUE(shared.equal(part(quantized(*codec_of(format, keys), key), "scales"))) << format;
  }
}

TEST(Floats, RefuseGroupsThatDoNotDivideTheWidth) {
  const auto levels = codec_of("fp8-e4m3", {{"granularity", "group"}, {"group", 64}})
                          ->fit(random_matrix(2, 96), {});
  ASSERT_FALSE(levels.ok());
  EXPECT_THAT(std::string(levels.status().message()),
              HasSubstr("a group of 64 columns does not divide the input width 96"));
}

TEST(Floats, ASearchOfFourBitsGoesBeyondTheRange) {
  // 0.75 of the largest is a value, if that is taken for 4 in place of 6.
  const at::Tensor weight =
      at::tensor({1.f, .75f, .75f, .75f, .5f, .25f, -.75f, .75f}).view({1, 8});
  const auto codec =
      codec_of("fp4", {{"granularity", "channel"}, {"range", "mse"}, {"scale_dtype", "fp32"}});
  EXPECT_LT((round_trip(*codec, weight) - weight).abs().max().item<double>(), 0.01);
  FitRequest extremes;
  extremes.range = "minmax";
  EXPECT_GT((round_trip(*codec, weight, extremes) - weight).abs().max().item<double>(), 0.08);
}

TEST(Floats, InputsHaveScalesForATokenAGroupOrTheSequence) {
  const at::Tensor x = random_matrix(6, 128);
  for (const char* format : {"fp8-e4m3", "fp6-e2m3", "fp4"}) {
    for (const auto& [inputs, weights] :
         {std::pair("token", "channel"), std::pair("group", "group"),
          std::pair("tensor", "tensor")}) {
      const auto codec = codec_of(format, {{"granularity", inputs}, {"dynamic", true}});
      const auto same = codec_of(format, {{"granularity", weights}, {"scale_dtype", "fp32"}});
      EXPECT_TRUE(codec->quantize_input(x, {}).equal(round_trip(*same, x))) << format << inputs;
    }
    const auto fixed = codec_of(format, {{"granularity", "tensor"}, {"dynamic", false}});
    const Parts levels = fixed->input_levels(-2, 1);
    EXPECT_EQ(part(levels, "scales").item<float>(), 2 / values_of(format).back()) << format;
    EXPECT_FALSE(make_codec({format, {{"granularity", "token"}, {"dynamic", false}}}).ok());
  }
}

}  // namespace
}  // namespace swage::test
