// The 4-bit formats of bitsandbytes against numbers of bitsandbytes itself.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <cstring>

#include "swage/quant/scalar_codec.h"
#include "tests/kit/format_support.h"
#include "tests/kit/golden_random.h"

namespace swage::test {
namespace {

using ::testing::ElementsAre;

at::Tensor numbers(uint64_t seed, int64_t rows, int64_t columns) {
  return gaussians(seed, rows, columns).to(at::kFloat);
}

double square_error(const at::Tensor& decoded, const at::Tensor& weight) {
  return (decoded - weight).to(at::kDouble).square().sum().item<double>();
}

TEST(Nf4, GivesTheCodesAndScalesOfBitsandbytes) {
  const at::Tensor weight = numbers(1, 1, 512);
  const auto codec = codec_of("nf4", {{"decoded", "fp32"}});
  const Parts parts = quantized(*codec, weight);
  EXPECT_NEAR(square_error(codec->decode(parts, 1, 512), weight), 3.98587440, 1e-6);
  const at::Tensor scales = part(parts, "scales"), codes = part(parts, "codes");
  EXPECT_FLOAT_EQ(scales[0][0].item<float>(), 2.364667155f);
  EXPECT_FLOAT_EQ(scales[0][1].item<float>(), 1.849471993f);
  EXPECT_FLOAT_EQ(scales[0][2].item<float>(), 2.464861104f);
  std::vector<int> first;
  int64_t sum = 0;
  for (int64_t i = 0; i < 512; ++i) {
    const int code = codes[0][i].item<uint8_t>();
    if (i < 8) first.push_back(code);
    sum += code * (i % 64 + 1);
  }
  EXPECT_THAT(first, ElementsAre(13, 4, 4, 13, 10, 2, 13, 9));
  EXPECT_EQ(sum, 112440);
}

TEST(Nf4, DoubleQuantizationGivesTheBytesOfBitsandbytes) {
  const at::Tensor weight = numbers(1, 1, 512);
  const auto codec = codec_of("nf4", {{"decoded", "fp32"}, {"double_quant", true}});
  const Parts parts = quantized(*codec, weight);
  EXPECT_FLOAT_EQ(part(parts, "scale_offset").item<float>(), 2.3475351333618164f);
  EXPECT_FLOAT_EQ(part(parts, "outer_scales").item<float>(), 0.4980630874633789f);
  const at::Tensor bytes = part(parts, "scales").contiguous();
  const std::vector<int> scales(bytes.const_data_ptr<uint8_t>(),
                                bytes.const_data_ptr<uint8_t>() + 8);
  EXPECT_THAT(scales, ElementsAre(167, 0, 200, 70, 195, 200, 32, 252));
  const auto grid = codec->grid(parts, 1, 512);
  ASSERT_TRUE(grid.ok()) << grid.status();
  const at::Tensor exact = weight.abs().view({1, 8, 64}).amax(2);
  EXPECT_NEAR(((grid->scale - exact) / exact).abs().max().item<double>(), 1.89e-3, 1e-5);
  EXPECT_LT(square_error(codec->decode(parts, 1, 512), weight), 4.1);
}

// create_dynamic_map(): what 256 scales in its steps would decode to.
TEST(Nf4, TheMapOfScalesIsThatOfBitsandbytes) {
  const auto codec = codec_of("nf4", {{"double_quant", true}});
  Parts parts = quantized(*codec, random_matrix(32, 512));
  at::Tensor bytes = at::empty({32, 8}, at::kByte);
  for (int64_t i = 0; i < 256; ++i) bytes.mutable_data_ptr<uint8_t>()[i] = static_cast<uint8_t>(i);
  parts["scales"] = bytes;
  parts["outer_scales"] = at::full({1, 1}, 1.f);
  parts["scale_offset"] = at::zeros({1});
  const auto grid = codec->grid(parts, 32, 512);
  ASSERT_TRUE(grid.ok()) << grid.status();
  const at::Tensor map = grid->scale.flatten().contiguous();
  const float* value = map.const_data_ptr<float>();
  EXPECT_EQ(value[127], 0);
  EXPECT_EQ(value[255], 1);
  EXPECT_EQ(value[254], 0.992968738079071f);
  EXPECT_EQ(value[253], 0.9789062738418579f);
  EXPECT_EQ(value[252], 0.96484375f);
  EXPECT_EQ(value[0], -0.992968738079071f);
  // The bits of all of them, from bitsandbytes 0.50.
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value[i], sizeof bits);
    sum += bits * (i + 1);
  }
  EXPECT_EQ(sum, 560415232u);
}

TEST(Nf4, TakesFourBitsAndAnEighthOrAHalf) {
  const int64_t out = 256, in = 512, count = out * in;
  const auto bits = [&](bool nested) {
    const auto codec = codec_of("nf4", {{"double_quant", nested}});
    return codec->code_bits() +
           static_cast<double>(codec->planned_level_bits(out, in, at::kBFloat16)) / count;
  };
  EXPECT_DOUBLE_EQ(bits(false), 4.5);
  EXPECT_DOUBLE_EQ(bits(true), 4 + 8.0 / 64 + 32.0 / (64 * 256) + 32.0 / count);
}

// More blocks than share a second scale, and no multiple of them.
TEST(Nf4, DoubleQuantizationRunsOverRows) {
  const at::Tensor weight = random_matrix(37, 640) * 3;
  const auto codec = codec_of("nf4", {{"double_quant", true}});
  const Parts parts = quantized(*codec, weight);
  EXPECT_EQ(part(parts, "outer_scales").sizes(), (std::vector<int64_t>{2, 1}));
  const absl::Status valid = codec->validate(parts, 37, 640);
  EXPECT_TRUE(valid.ok()) << valid;
  const double nested = square_error(codec->decode(parts, 37, 640), weight);
  const double plain = square_error(round_trip(*codec_of("nf4"), weight), weight);
  EXPECT_LT(nested, plain * 1.1);
}

TEST(Nf4, BlocksOfZerosMoveNoOtherScale) {
  at::Tensor weight = random_matrix(8, 128);
  const auto codec = codec_of("nf4", {{"double_quant", true}});
  const at::Tensor before = codec->grid(quantized(*codec, weight), 8, 128)->scale;
  at::Tensor padded = at::zeros({16, 128});
  padded.narrow(0, 0, 8).copy_(weight);
  const Parts parts = quantized(*codec, padded);
  EXPECT_TRUE(codec->decode(parts, 16, 128).narrow(0, 8, 8).eq(0).all().item<bool>());
  const at::Tensor after = codec->grid(parts, 16, 128)->scale.narrow(0, 0, 8);
  EXPECT_LT((after - before).abs().max().item<double>(), 1e-6);
}

TEST(BnbFp4, HasTheValuesOfBitsandbytes) {
  const auto codec = codec_of("bnb-fp4", {{"decoded", "fp32"}});
  const auto* scalar = dynamic_cast<const quant::ScalarCodec*>(codec.get());
  ASSERT_NE(scalar, nullptr);
  const std::vector<float> positive = {0.0f,
                                       0.0052083334885537624f,
                                       0.6666666865348816f,
                                       1.0f,
                                       0.3333333432674408f,
                                       0.5f,
                                       0.1666666716337204f,
                                       0.25f};
  for (size_t code = 0; code < 8; ++code) {
    EXPECT_EQ(scalar->table().values()[code], positive[code]);
    EXPECT_EQ(scalar->table().values()[code + 8], -positive[code]);
  }
  const at::Tensor weight = numbers(1, 1, 512);
  EXPECT_NEAR(square_error(round_trip(*codec, weight), weight), 6.644439097089206, 1e-5);
}

}  // namespace
}  // namespace swage::test
