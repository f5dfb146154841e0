#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "swage/codec.h"
#include "swage/quant/scalar_grid.h"
#include "swage/scheme.h"
#include "tests/kit/fixture.h"

namespace swage {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const Codec> codebook(int64_t bits, int64_t columns = 1) {
  Scheme scheme{"codebook", {{"bits", bits}, {"columns", columns}}};
  auto codec = make_codec(scheme);
  EXPECT_TRUE(codec.ok()) << codec.status();
  return *std::move(codec);
}

Parts rounded(const Codec& codec, const at::Tensor& weight, const FitRequest& request = {}) {
  auto levels = codec.fit(weight, request);
  EXPECT_TRUE(levels.ok()) << levels.status();
  const Parts parts = codec.encode(weight, *std::move(levels));
  EXPECT_TRUE(codec.validate(parts, weight.size(0), weight.size(1)).ok())
      << codec.validate(parts, weight.size(0), weight.size(1));
  return parts;
}

at::Tensor decoded(const Codec& codec, const at::Tensor& weight, const FitRequest& request = {}) {
  return codec.decode(rounded(codec, weight, request), weight.size(0), weight.size(1));
}

double error(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).square().sum().item<double>();
}

at::Tensor floats(std::initializer_list<double> values) {
  return at::tensor(at::ArrayRef<double>(values.begin(), values.size()), at::kDouble)
      .to(at::kFloat);
}

TEST(Codebook, LearnsTheMeansOfFourPairs) {
  const at::Tensor weight = floats({30, 1, 10, 21, 0, 31, 20, 11}).view({1, 8});
  const auto codec = codebook(2);
  const Parts parts = rounded(*codec, weight);
  EXPECT_TRUE(at::equal(part(parts, "table"), floats({.5, 10.5, 20.5, 30.5}).view({1, 4})));
  EXPECT_TRUE(at::equal(part(parts, "codes"),
                        at::tensor({3, 0, 1, 2, 0, 3, 2, 1}, at::kByte).view({1, 8})));
}

TEST(Codebook, ImportanceDrawsEntries) {
  const at::Tensor weight = floats({0, 4, 10, 20, 30}).view({1, 5});
  FitRequest request;
  request.importance = floats({3, 1, 5, 5, 5});
  const Parts parts = rounded(*codebook(2), weight, request);
  EXPECT_TRUE(at::equal(part(parts, "table"), floats({1, 10, 20, 30}).view({1, 4})));
}

TEST(Codebook, LearnsVectorsOfColumns) {
  const at::Tensor weight =
      floats({0, 1, 0, 1.5, 8, 8, 9, 8, -5, 2, -5, 2.5, 4, -9, 4, -8}).view({2, 8});
  const auto codec = codebook(2, 2);
  const at::Tensor value = decoded(*codec, weight);
  EXPECT_TRUE(at::equal(
      value, floats({0, 1.25, 0, 1.25, 8.5, 8, 8.5, 8, -5, 2.25, -5, 2.25, 4, -8.5, 4, -8.5})
                 .view({2, 8})));
  EXPECT_EQ(codec->block_columns(), 2);
  EXPECT_EQ(codec->code_bits(), 1);
}

TEST(Codebook, IsExactForFewValuesAndConstantRows) {
  at::Tensor weight = at::zeros({3, 24});
  weight[1].fill_(-0.37f);
  weight[2].slice(0, 0, 24, 3).fill_(1.625f);
  weight[2].slice(0, 1, 24, 3).fill_(-7.1f);
  for (const int64_t columns : {1, 2, 3, 4, 8}) {
    EXPECT_TRUE(at::equal(decoded(*codebook(3, columns), weight), weight)) << columns;
    EXPECT_TRUE(at::equal(decoded(*codebook(3, columns), weight.to(at::kDouble)), weight))
        << columns;
  }
}

TEST(Codebook, EncodingWhatWasDecodedChangesNothing) {
  const at::Tensor weight = test::fixture(3, 24, 48, 1, {}).weight.to(at::kFloat);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t columns : {1, 2, 3, 8}) {
      const auto codec = codebook(4, columns);
      FitRequest request;
      request.scale_dtype = type;
      const Parts parts = rounded(*codec, weight, request);
      EXPECT_EQ(part(parts, "table").scalar_type(), type);
      EXPECT_EQ(codec->decoded_type(parts), type);
      const at::Tensor value = codec->decode(parts, 24, 48);
      Parts levels = parts;
      levels.erase("codes");
      const Parts again = codec->encode(value, levels);
      EXPECT_TRUE(at::equal(part(again, "codes"), part(parts, "codes"))) << columns;
      EXPECT_TRUE(at::equal(codec->decode(again, 24, 48), value));
    }
  }
}

TEST(Codebook, TakesTheNearestEntry) {
  const at::Tensor weight = test::fixture(4, 16, 96, 1, {}).weight;
  for (const int64_t columns : {2, 4}) {
    const auto codec = codebook(6, columns);
    const Parts parts = rounded(*codec, weight);
    const at::Tensor table = part(parts, "table").to(at::kDouble);
    const at::Tensor cost = (weight.view({-1, 1, columns}) - table.unsqueeze(0)).square().sum(2);
    EXPECT_TRUE(at::equal(part(parts, "codes").flatten().to(at::kLong), cost.argmin(1)));
  }
}

TEST(Codebook, BitsAndImportanceHelp) {
  const at::Tensor weight = test::fixture(5, 32, 128, 1, {}).weight.to(at::kFloat);
  double before = std::numeric_limits<double>::infinity();
  for (const int64_t bits : {2, 3, 4, 6}) {
    const double now = error(decoded(*codebook(bits), weight), weight);
    EXPECT_LT(now, before / 2.5) << bits;
    before = now;
  }
  FitRequest request;
  request.importance = at::ones({128});
  request.importance.slice(0, 0, 128, 8).fill_(100);
  const auto weighted = [&](const at::Tensor& value) {
    return ((value - weight).square() * request.importance).sum().item<double>();
  };
  for (const int64_t columns : {1, 2, 4}) {
    EXPECT_LT(weighted(decoded(*codebook(4, columns), weight, request)),
              weighted(decoded(*codebook(4, columns), weight)));
  }
}

TEST(Codebook, LloydEndsWhereEntriesAreMeans) {
  const at::Tensor weight = test::fixture(6, 1, 256, 1, {}).weight;
  FitRequest request;
  request.scale_dtype = at::kDouble;
  const Parts parts = rounded(*codebook(3), weight, request);
  for (int code = 0; code < 8; ++code) {
    const at::Tensor mine = weight.masked_select(part(parts, "codes").eq(code));
    ASSERT_GT(mine.numel(), 0);
    EXPECT_NEAR(mine.mean().item<double>(), part(parts, "table")[0][code].item<double>(), 1e-12);
  }
}

TEST(Codebook, ThreadsDoNotChangeAByte) {
  const at::Tensor weight = test::fixture(8, 96, 2048, 1, {}).weight.to(at::kFloat);
  const int before = at::get_num_threads();
  for (const int64_t columns : {1, 4}) {
    std::vector<Parts> runs;
    for (const int threads : {1, 2}) {
      at::set_num_threads(threads);
      runs.push_back(rounded(*codebook(columns == 1 ? 4 : 8, columns), weight));
    }
    EXPECT_TRUE(at::equal(part(runs[0], "table"), part(runs[1], "table")));
    EXPECT_TRUE(at::equal(part(runs[0], "codes"), part(runs[1], "codes")));
  }
  at::set_num_threads(before);
}

TEST(Codebook, CountsBits) {
  const at::Tensor weight = test::f5().weight.to(at::kFloat);
  FitRequest request;
  request.scale_dtype = at::kHalf;
  const auto scalar = codebook(3), vectors = codebook(8, 4);
  EXPECT_EQ(scalar->code_bits(), 3);
  EXPECT_EQ(vectors->code_bits(), 2);
  EXPECT_EQ(scalar->level_bits(rounded(*scalar, weight, request)), 32 * 8 * 16);
  EXPECT_EQ(vectors->level_bits(rounded(*vectors, weight, request)), 256 * 4 * 16);
  EXPECT_EQ(scalar->planned_level_bits(32, 64, at::kHalf), 32 * 8 * 16);
  EXPECT_EQ(vectors->planned_level_bits(32, 64, at::kHalf), 256 * 4 * 16);
}

std::string refusal(const Codec& codec, const at::Tensor& weight, const FitRequest& request = {}) {
  return std::string(codec.fit(weight, request).status().message());
}

TEST(Codebook, RefusesWhatItCannotRound) {
  EXPECT_THAT(
      refusal(*codebook(4, 3), at::zeros({2, 16})),
      HasSubstr("codebook rounds 3 columns at once, which does not divide the input width 16"));
  at::Tensor weight = at::zeros({4, 16});
  weight[2][5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(refusal(*codebook(4), weight), HasSubstr("the weight holds NaN at row 2, column 5"));
  weight[2][5] = -std::numeric_limits<float>::infinity();
  EXPECT_THAT(refusal(*codebook(4, 2), weight), HasSubstr("infinity at row 2, column 5"));
  weight[2][5] = 1e9f;
  FitRequest request;
  request.scale_dtype = at::kHalf;
  EXPECT_THAT(refusal(*codebook(4), weight, request),
              HasSubstr("entry of the table of row 2 does not fit Half"));
  EXPECT_THAT(refusal(*codebook(2, 2), weight, request),
              HasSubstr("entry of the table of all rows does not fit Half"));
  EXPECT_THAT(refusal(*codebook(4), at::zeros({0, 16})), HasSubstr("not empty"));
}

TEST(Codebook, ValidationNamesThePart) {
  const at::Tensor weight = test::f5().weight.to(at::kFloat);
  const auto codec = codebook(3);
  const Parts parts = rounded(*codec, weight);
  const auto wrong = [&](const char* name, const at::Tensor& tensor) {
    Parts changed = parts;
    changed[name] = tensor;
    return std::string(codec->validate(changed, 32, 64).message());
  };
  EXPECT_THAT(wrong("codes", part(parts, "codes") + 8), HasSubstr("expected 0 .. 7"));
  EXPECT_THAT(wrong("codes", part(parts, "codes").to(at::kInt)),
              HasSubstr("codes is Int, expected Byte"));
  EXPECT_THAT(wrong("table", part(parts, "table").narrow(1, 0, 4)),
              HasSubstr("table is [32, 4], expected [32, 8]"));
  EXPECT_THAT(wrong("table", part(parts, "table").flip(1)), HasSubstr("entries ascend"));
  EXPECT_THAT(wrong("scales", part(parts, "table")), HasSubstr("no such part"));
  EXPECT_FALSE(codec->grid(parts, 32, 64).ok());
}

}  // namespace
}  // namespace swage
