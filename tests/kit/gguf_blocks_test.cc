// The bytes of GGUF blocks, against what llama.cpp's definition says of them.
#include "swage/quant/gguf_blocks.h"

#include <gmock/gmock.h>

#include <numeric>

#include "tests/kit/gguf_support.h"

namespace swage::quant {
namespace {

using namespace testing_gguf;
using ::testing::HasSubstr;

at::Tensor half(double value, int64_t columns = 1) {
  return at::full({1, columns}, value, at::kHalf);
}

std::vector<int> counted(int first, int step, int count) {
  std::vector<int> values(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) values[static_cast<size_t>(i)] = first + step * i;
  return values;
}

std::vector<int> joined(std::vector<int> a, const std::vector<int>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Both ways.
void expect_bytes(const std::string& format, const Parts& parts, const std::vector<int>& bytes) {
  SCOPED_TRACE(format);
  const auto packed = pack_gguf(parts, format);
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_TRUE(at::equal(*packed, bytes_of(bytes))) << *packed;
  const auto back = unpack_gguf(*packed, format);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(same_parts(*back, parts));
}

const std::vector<int> kUpAndDown = {0x00, 0x38, 0xF0, 0xE1, 0xD2, 0xC3, 0xB4, 0xA5, 0x96,
                                     0x87, 0x78, 0x69, 0x5A, 0x4B, 0x3C, 0x2D, 0x1E, 0x0F};
const std::vector<int> kNibbles(kUpAndDown.begin() + 2, kUpAndDown.end());

TEST(GgufBlocks, PackTheGoldenVectors) {
  const std::vector<int> both = joined(counted(0, 1, 16), counted(15, -1, 16));
  expect_bytes("q4_0", {{"scales", half(0.5)}, {"codes", row_of(both, at::kChar) - 8}}, kUpAndDown);
  expect_bytes("q4_1",
               {{"scales", half(0.5)}, {"offsets", half(-4)}, {"codes", row_of(both, at::kChar)}},
               joined({0x00, 0x38, 0x00, 0xC4}, kNibbles));
  expect_bytes("iq4_nl", {{"scales", half(0.5)}, {"codes", row_of(both, at::kByte)}}, kUpAndDown);
  std::vector<int> five = {0x00, 0x38, 0x00, 0x00, 0xFF, 0xFF};
  for (int i = 0; i < 16; ++i) five.push_back(i * 0x11);
  expect_bytes("q5_0",
               {{"scales", half(0.5)}, {"codes", row_of(counted(0, 1, 32), at::kChar) - 16}}, five);
  five.insert(five.begin() + 2, {0x00, 0xC4});
  expect_bytes("q5_1",
               {{"scales", half(0.5)},
                {"offsets", half(-4)},
                {"codes", row_of(counted(0, 1, 32), at::kChar)}},
               five);
  expect_bytes("q8_0", {{"scales", half(0.5)}, {"codes", row_of(counted(-16, 1, 32), at::kChar)}},
               joined({0x00, 0x38}, joined(counted(0xF0, 1, 16), counted(0, 1, 16))));
  expect_bytes(
      "mxfp4",
      {{"scales", row_of(std::vector<int>{128}, at::kByte)}, {"codes", row_of(both, at::kByte)}},
      joined({0x80}, kNibbles));
}

Parts k_parts(const std::vector<int>& scales, at::ScalarType type, int64_t groups) {
  Parts parts{{"codes", at::zeros({1, 256}, at::kChar)},
              {"scales", row_of(scales, type)},
              {"outer_scales", half(0)}};
  EXPECT_EQ(part(parts, "scales").size(1), groups);
  return parts;
}

TEST(GgufBlocks, PackTheGoldenScalesOfKTypes) {
  const at::Tensor four =
      bytes_of({0x81, 0x82, 0x83, 0x7F, 0x05, 0x86, 0xC7, 0xC8, 0x90, 0x81, 0xFF, 0xE0});
  Parts parts = k_parts({1, 2, 3, 63, 32, 33, 47, 16}, at::kByte, 8);
  parts.emplace("mins", row_of(std::vector<int>{5, 6, 7, 8, 9, 40, 63, 62}, at::kByte));
  parts.emplace("outer_mins", half(0));
  for (const char* format : {"q4_k", "q5_k"})
    EXPECT_TRUE(at::equal(pack_gguf(parts, format)->narrow(1, 4, 12), four)) << format;
  const std::vector<int> three = {0, 1, 2, 3, 4, 5, 6, 7, 60, 61, 62, 63, 32, 33, 20, 40};
  parts = k_parts(three, at::kChar, 16);
  parts["scales"] = part(parts, "scales") - 32;
  EXPECT_TRUE(at::equal(
      pack_gguf(parts, "q3_k")->narrow(1, 96, 12),
      bytes_of({0xC0, 0xD1, 0xE2, 0xF3, 0x04, 0x15, 0x46, 0x87, 0xB0, 0xB0, 0x70, 0xB0})));
}

// One number set, all others zero: the bits that formats.md names, and no others.
TEST(GgufBlocks, PutEveryCodeOfKTypesInItsPlace) {
  const auto bits = [](const std::string& format, int64_t element, int code) {
    const bool signs = format == "q3_k" || format == "q6_k";
    Parts parts =
        k_parts(std::vector<int>(format[1] > '3' && format[1] < '6' ? 8 : 16, 0),
                signs ? at::kChar : at::kByte, format[1] > '3' && format[1] < '6' ? 8 : 16);
    const int least = format == "q3_k" ? -4 : format == "q6_k" ? -32 : 0;
    if (!signs) parts.emplace("mins", at::zeros_like(part(parts, "scales")));
    if (!signs) parts.emplace("outer_mins", half(0));
    if (format == "q3_k") part(parts, "scales").fill_(-32);
    parts["codes"].fill_(least);
    parts["codes"][0][element] = least + code;
    const at::Tensor packed = *pack_gguf(parts, format);
    std::map<int64_t, int> set;
    for (int64_t i = 0; i < packed.size(1); ++i) {
      const int byte = packed[0][i].item<int>();
      if (byte != 0) set[i] = byte;
    }
    return set;
  };
  using Set = std::map<int64_t, int>;
  for (const int64_t e : {0, 31, 32, 63, 64, 100, 127, 128, 170, 255}) {
    const int64_t n = e / 128, t = e % 128 / 32, l = e % 32, c = e / 64;
    EXPECT_EQ(bits("q2_k", e, 3), (Set{{16 + 32 * n + l, 3 << 2 * t}})) << e;
    EXPECT_EQ(bits("q3_k", e, 7), (Set{{l, 1 << (4 * n + t)}, {32 + 32 * n + l, 3 << 2 * t}})) << e;
    EXPECT_EQ(bits("q4_k", e, 15), (Set{{16 + 32 * c + l, e % 64 < 32 ? 0x0F : 0xF0}})) << e;
    EXPECT_EQ(bits("q5_k", e, 31), (Set{{16 + l, 1 << (2 * c + e % 64 / 32)},
                                        {48 + 32 * c + l, e % 64 < 32 ? 0x0F : 0xF0}}))
        << e;
    EXPECT_EQ(bits("q6_k", e, 63), (Set{{64 * n + l + 32 * (t % 2), t < 2 ? 0x0F : 0xF0},
                                        {128 + 32 * n + l, 3 << 2 * t}}))
        << e;
  }
}

TEST(GgufBlocks, ComeBackFromEveryPatternOfBytes) {
  for (const std::string& format : block_formats()) {
    const GgufFormat shape = gguf_format(format);
    at::Tensor bytes = at::empty({67, 3 * shape.bytes}, at::kByte);
    uint32_t state = 1;
    for (int64_t i = 0; i < bytes.numel(); ++i) {
      state = 1664525u * state + 1013904223u;
      bytes.mutable_data_ptr<uint8_t>()[i] = static_cast<uint8_t>(state >> 24);
    }
    const auto parts = unpack_gguf(bytes, format);
    ASSERT_TRUE(parts.ok()) << parts.status();
    EXPECT_EQ(part(*parts, "codes").sizes(), at::IntArrayRef({67, 3 * shape.columns}));
    EXPECT_TRUE(at::equal(*pack_gguf(*parts, format), bytes)) << format;
  }
}

TEST(GgufBlocks, RefuseWhatIsNoBlock) {
  EXPECT_THAT(pack_gguf({}, "int").status().message(),
              HasSubstr("no blocks for the format \"int\""));
  EXPECT_THAT(unpack_gguf(bytes_of({1, 2}), "e8p").status().message(), HasSubstr("\"e8p\""));
  EXPECT_THAT(unpack_gguf(bytes_of({1, 2}), "q4_0").status().message(),
              HasSubstr("uint8 rows of a multiple of 18 bytes"));
  EXPECT_THAT(pack_gguf({}, "q4_0").status().message(), HasSubstr("a multiple of 32 columns"));
  Parts parts{{"codes", at::zeros({1, 32}, at::kChar)}};
  EXPECT_THAT(pack_gguf(parts, "q4_0").status().message(), HasSubstr("scales is missing"));
  parts.emplace("scales", at::ones({1, 1}, at::kFloat));
  EXPECT_THAT(pack_gguf(parts, "q4_0").status().message(), HasSubstr("scales is Float"));
  parts["scales"] = half(1);
  parts["codes"][0][3] = 8;
  EXPECT_THAT(pack_gguf(parts, "q4_0").status().message(), HasSubstr("codes is in 0 .. 8"));
}

}  // namespace
}  // namespace swage::quant
