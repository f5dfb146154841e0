#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image_support.h"
#include "swage/image/image.h"

namespace swage::image {
namespace {

using test::formula;
using testing::HasSubstr;

TEST(Resize, GivesPillowsBytes) {
  const Value::List& cases = *test::expected_images()["resizes"].list();
  EXPECT_GE(cases.size(), 20u);
  for (const Value& expected : cases) {
    const Value::List &from = *expected["from"].list(), &to = *expected["to"].list();
    const auto resized =
        resize(formula(*from[0].integer(), *from[1].integer()), *to[0].integer(), *to[1].integer(),
               *expected["filter"].text() == "bicubic" ? Filter::kBicubic : Filter::kBilinear);
    ASSERT_TRUE(resized.ok()) << resized.status();
    EXPECT_EQ(test::digest(*resized), test::digest(expected)) << to_json(expected);
  }
}

TEST(Resize, TakesPicturesThatAreNotContiguous) {
  const at::Tensor picture = formula(40, 30).transpose(0, 1);
  const at::Tensor expected = *resize(picture.contiguous(), 20, 50, Filter::kBicubic);
  EXPECT_TRUE(resize(picture, 20, 50, Filter::kBicubic)->equal(expected));
}

TEST(Resize, ClampsWhereBicubicOvershoots) {
  at::Tensor picture = at::zeros({1, 8, 3}, at::kByte);
  picture.narrow(1, 4, 4).fill_(255);
  const at::Tensor wide = *resize(picture, 1, 64, Filter::kBicubic);
  EXPECT_EQ(wide.min().item<uint8_t>(), 0);
  EXPECT_EQ(wide.max().item<uint8_t>(), 255);
  EXPECT_TRUE(wide.narrow(1, 0, 24).eq(0).all().item<bool>());
}

TEST(Resize, RefusesWhatIsNoPictureAndSizesBeyondTheLimit) {
  const auto message = [](const absl::StatusOr<at::Tensor>& result) {
    return std::string(result.status().message());
  };
  EXPECT_THAT(message(resize({}, 2, 2, Filter::kBicubic)), HasSubstr("found no tensor"));
  EXPECT_THAT(message(resize(at::zeros({2, 2, 3}), 2, 2, Filter::kBicubic)),
              HasSubstr("found Float [2, 2, 3] on cpu"));
  EXPECT_THAT(message(resize(at::zeros({2, 2, 4}, at::kByte), 2, 2, Filter::kBicubic)),
              HasSubstr("found Byte [2, 2, 4]"));
  EXPECT_THAT(message(resize(formula(2, 2), 0, 2, Filter::kBicubic)), HasSubstr("2 x 0 pixels"));
  EXPECT_THAT(message(resize(formula(2, 2), 100'000, 100'000, Filter::kBicubic)),
              HasSubstr("100000 x 100000 pixels"));
  EXPECT_THAT(message(resize(formula(2, 2), 1, int64_t{1} << 62, Filter::kBicubic)),
              HasSubstr("1 to 134217728 are read"));
}

}  // namespace
}  // namespace swage::image
