// The format "affine": code · scale + offset, both rounded to one dtype.
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include "tests/kit/format_support.h"

namespace swage::test {
namespace {

std::shared_ptr<const Codec> affine(int bits, int group) {
  return codec_of({"affine", {{"bits", bits}, {"group", group}}});
}

TEST(FormatAffine, CoversTheRangeFromItsLowEnd) {
  const auto codec = affine(2, 4);
  const at::Tensor weight = at::tensor(at::ArrayRef<float>{1, 2, 3, 4}).view({1, 4});
  FitRequest request;
  const Parts parts = quantized(*codec, weight, request);
  EXPECT_EQ(part(parts, "scales").item<float>(), 1);
  EXPECT_EQ(part(parts, "offsets").item<float>(), 1) << "zero need not be in the range";
  EXPECT_TRUE(part(parts, "codes").equal(at::tensor({-2, -1, 0, 1}).to(at::kChar).view({1, 4})));
  EXPECT_TRUE(codec->decode(parts, 1, 4).equal(weight));
}

TEST(FormatAffine, GroupsOfEqualValuesAreExact) {
  const auto codec = affine(4, 32);
  FitRequest request;
  request.scale_dtype = at::kBFloat16;
  for (const float value : {0.F, -0.0123291015625F, 1000.F}) {
    const at::Tensor weight = at::full({2, 64}, value);
    EXPECT_TRUE(round_trip(*codec, weight, request).equal(weight)) << value;
  }
}

// The product is not rounded to the dtype of the scales, for MLX does not.
TEST(FormatAffine, DecodesInFp32) {
  const auto codec = affine(8, 32);
  FitRequest request;
  request.scale_dtype = at::kBFloat16;
  Parts parts = quantized(*codec, random_matrix(1, 32), request);
  EXPECT_EQ(part(parts, "scales").scalar_type(), at::kBFloat16);
  EXPECT_EQ(part(parts, "offsets").scalar_type(), at::kBFloat16);
  EXPECT_EQ(codec->decoded_type(parts), at::kFloat);
  parts["scales"] = at::full({1, 1}, 0.0123291015625, at::kBFloat16);
  parts["offsets"] = at::full({1, 1}, -1.5, at::kBFloat16);
  parts["codes"] = at::full({1, 32}, 69, at::kChar);  // 197 from 0
  EXPECT_TRUE(codec->decode(parts, 1, 32).eq(197 * 0.0123291015625 - 1.5).all().item<bool>());
}

TEST(FormatAffine, TakesTwoNumbersAGroup) {
  const auto codec = affine(4, 64);
  FitRequest request;
  request.scale_dtype = at::kHalf;
  const Parts parts = quantized(*codec, random_matrix(3, 128), request);
  EXPECT_EQ(codec->level_bits(parts), 3 * 2 * 32);
  EXPECT_EQ(codec->planned_level_bits(3, 128, at::kHalf), 3 * 2 * 32);
}

TEST(FormatAffine, RefusesPartsThatDoNotFit) {
  const auto codec = affine(3, 32);
  FitRequest request;
  const Parts parts = quantized(*codec, random_matrix(2, 64), request);
  const auto why = [&](const char* name, at::Tensor tensor) {
    Parts other = parts;
    other[name] = std::move(tensor);
    return std::string(codec->validate(other, 2, 64).message());
  };
  EXPECT_EQ(why("scales", part(parts, "scales")), "");
  EXPECT_THAT(why("offsets", part(parts, "offsets").to(at::kHalf)), testing::HasSubstr("offsets"));
  EXPECT_THAT(why("offsets", part(parts, "offsets") / 0), testing::HasSubstr("not finite"));
  EXPECT_THAT(why("codes", part(parts, "codes") + 4), testing::HasSubstr("codes"));
  EXPECT_THAT(why("zeros", part(parts, "scales")), testing::HasSubstr("zeros"));
}

}  // namespace
}  // namespace swage::test
