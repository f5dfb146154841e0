#include "swage/store/packing.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace swage::store {
namespace {

using testing::ElementsAreArray;

std::vector<uint32_t> packed(const std::vector<int>& codes, int bits) {
  const at::Tensor row = at::tensor(codes).to(at::kChar).unsqueeze(0);
  const at::Tensor words = pack(row, bits);
  const auto* data = words.const_data_ptr<int32_t>();
  return {data, data + words.numel()};
}

// Codes q for stored values u(0), u(1) …
template <class Stored>
std::vector<int> codes(int count, int bits, Stored u) {
  std::vector<int> result;
  for (int i = 0; i < count; ++i) result.push_back(u(i) - (1 << (bits - 1)));
  return result;
}

TEST(Packing, GivesTheWordsOfTheFormat) {
  using Words = std::vector<uint32_t>;
  const auto index = [](int i) { return i; };
  EXPECT_THAT(packed({-8, -7, -1, 0, 1, 2, 6, 7}, 4), ElementsAreArray(Words{0xFEA98710}));
  EXPECT_THAT(packed({-8, -7, -6, -5, -4, -3, -2, -1}, 4), ElementsAreArray(Words{0x76543210}));
  EXPECT_THAT(packed({-128, -1, 0, 127}, 8), ElementsAreArray(Words{0xFF807F00}));
  EXPECT_THAT(packed(codes(16, 2, [](int i) { return i % 4; }), 2),
              ElementsAreArray(Words{0xE4E4E4E4}));
  EXPECT_THAT(packed(codes(32, 3, [](int i) { return i % 8; }), 3),
              ElementsAreArray(Words{0x88FAC688, 0xC688FAC6, 0xFAC688FA}));
  EXPECT_THAT(packed(codes(32, 5, index), 5),
              ElementsAreArray(Words{0x8A418820, 0xC5A92839, 0xCA307B9A, 0x38BDAB49, 0xFFBBCDEB}));
  EXPECT_THAT(packed(codes(32, 6, index), 6),
              ElementsAreArray(
                  Words{0x440C2040, 0xA2481C61, 0x3CE34C2C, 0x544D2450, 0xA6585D65, 0x7DE75C6D}));
  EXPECT_THAT(packed({7}, 4), ElementsAreArray(Words{0xF})) << "no bits behind the last code";
}

TEST(Packing, EqualsThePlainVersionForAllBitsAndShapes) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (const int64_t columns : {1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 100, 576}) {
      const int64_t low = -(int64_t{1} << (bits - 1));
      const at::Tensor q = at::randint(low, -low, {5, columns}, at::kChar);
      const at::Tensor words = pack(q, bits);
      ASSERT_TRUE(at::equal(words, pack_reference(q, bits))) << bits << " bits, " << columns;
      ASSERT_TRUE(at::equal(unpack(words, bits, columns), q)) << bits << " bits, " << columns;
      ASSERT_TRUE(at::equal(unpack_reference(words, bits, columns), q));
    }
  }
}

TEST(Packing, TakesTransposedTensorsAndManyRows) {
  const at::Tensor q = at::randint(-8, 8, {300, 2000}, at::kChar);
  EXPECT_TRUE(at::equal(pack(q.t(), 4), pack_reference(q.t().contiguous(), 4)));
  EXPECT_TRUE(at::equal(unpack(pack(q.t(), 4).t().contiguous().t(), 4, 300), q.t()));
}

}  // namespace
}  // namespace swage::store
