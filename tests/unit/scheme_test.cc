#include "swage/scheme.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace swage {
namespace {

using Table = Value::Table;

absl::StatusOr<WeightScheme> weight(Table table, const WeightScheme& base = {}) {
  return parse_weight_scheme(Value(std::move(table)), base);
}

std::string refusal(Table table) {
  return std::string(weight(std::move(table)).status().message());
}

std::string activation_refusal(Table table) {
  return std::string(parse_activation_scheme(Value(std::move(table)), {}).status().message());
}

TEST(Scheme, ReadsEveryKeyOfAWeightTable) {
  const auto scheme = weight({{"format", "int"},
                              {"bits", 3},
                              {"granularity", "group"},
                              {"group", 64},
                              {"group_tail", "short"},
                              {"symmetric", false},
                              {"range", "mse"},
                              {"convention", "gptq"},
                              {"scale_dtype", "fp16"}});
  ASSERT_TRUE(scheme.ok()) << scheme.status();
  EXPECT_EQ(scheme->bits, 3);
  EXPECT_EQ(scheme->group_size, 64);
  EXPECT_TRUE(scheme->group_tail_short);
  EXPECT_FALSE(scheme->symmetric);
  EXPECT_EQ(scheme->range, RangeRule::kMse);
  EXPECT_EQ(scheme->convention, Convention::kGptq);
  EXPECT_EQ(scheme->scale_type, ScaleType::kFp16);
}

TEST(Scheme, KeepsTheValuesOfTheBaseForAbsentKeys) {
  WeightScheme base;
  base.bits = 3;
  base.symmetric = false;
  const auto scheme = weight({{"group", 32}}, base);
  ASSERT_TRUE(scheme.ok());
  EXPECT_EQ(scheme->bits, 3);
  EXPECT_FALSE(scheme->symmetric);
  EXPECT_EQ(*parse_weight_scheme(Value(), base), base);
}

TEST(Scheme, GroupImpliesGroupGranularity) {
  WeightScheme base;
  base.granularity = Granularity::kChannel;
  EXPECT_EQ(weight({{"group", 64}}, base)->granularity, Granularity::kGroup);
  EXPECT_EQ(refusal({{"granularity", "channel"}, {"group", 64}}),
            "\"group\" needs granularity = \"group\", found \"channel\"");
  EXPECT_EQ(refusal({{"granularity", "channel"}, {"group_tail", "short"}}),
            "\"group_tail\" needs granularity = \"group\", found \"channel\"");
}

TEST(Scheme, NamesTheNearestKeyForAnUnknownOne) {
  EXPECT_EQ(refusal({{"bit", 4}}), "\"bit\" is no key of a scheme; did you mean \"bits\"?");
  EXPECT_EQ(refusal({{"sym", true}}), "\"sym\" is no key of a scheme; did you mean \"symmetric\"?");
  EXPECT_EQ(
      activation_refusal({{"xxxx", true}}),
      "\"xxxx\" is no key of a scheme; known are bits, dynamic, format, granularity, symmetric");
}

TEST(Scheme, RefusesValuesOutOfRangeOrOfAnotherType) {
  EXPECT_EQ(refusal({{"bits", 9}}), "\"bits\" is 9; expected 2 to 8");
  EXPECT_EQ(refusal({{"bits", 1}}), "\"bits\" is 1; expected 2 to 8");
  EXPECT_EQ(refusal({{"bits", "4"}}), "\"bits\" is a string; expected 2 to 8");
  EXPECT_EQ(refusal({{"symmetric", 1}}), "\"symmetric\" is an integer; expected true or false");
  EXPECT_EQ(
      refusal({{"group", -1}}),
      "\"group\" is -1; expected the number of columns that share a scale, for example 64 or 128");
  EXPECT_EQ(refusal({{"range", "max"}}), "\"range\" is \"max\"; expected \"minmax\", \"mse\"");
  EXPECT_EQ(refusal({{"granularity", "token"}}),
            "\"granularity\" is \"token\"; expected \"tensor\", \"channel\", \"group\"");
  EXPECT_EQ(std::string(parse_weight_scheme(Value(4), {}).status().message()),
            "a scheme is a table such as { bits = 4 }, found an integer");
}

TEST(Scheme, Fp8HasEightBitsOneScalePerRowAndNoZeroPoint) {
  const auto scheme = weight({{"format", "fp8-e4m3"}});
  ASSERT_TRUE(scheme.ok());
  EXPECT_EQ(scheme->bits, 8);
  EXPECT_EQ(scheme->granularity, Granularity::kChannel);
  EXPECT_TRUE(scheme->symmetric);
  EXPECT_EQ(refusal({{"format", "fp8-e4m3"}, {"group", 128}}),
            "format = \"fp8-e4m3\" takes one scale per \"channel\" or \"tensor\", not per group");
  EXPECT_EQ(refusal({{"format", "fp8-e5m2"}, {"bits", 4}}),
            "\"bits\" is 4; expected 8 with format = \"fp8-e5m2\"");
  EXPECT_EQ(refusal({{"format", "fp8-e5m2"}, {"symmetric", false}}),
            "format = \"fp8-e5m2\" has no zero point: symmetric = false cannot hold");
  EXPECT_EQ(refusal({{"format", "fp8-e4m3"}, {"convention", "gptq"}}),
            "\"convention\" is about integers, but format is \"fp8-e4m3\"");
}

TEST(Scheme, FullRangeIsSymmetric) {
  EXPECT_TRUE(weight({{"convention", "full-range"}}).ok());
  EXPECT_EQ(refusal({{"convention", "full-range"}, {"symmetric", false}}),
            "convention = \"full-range\" is symmetric; with symmetric = false use \"minmax\", "
            "\"gptq\" or \"llmc\"");
}

TEST(Scheme, StaticActivationsHaveOneScalePerTensor) {
  const auto scheme =
      parse_activation_scheme(Value(Table{{"granularity", "tensor"}, {"dynamic", false}}), {});
  ASSERT_TRUE(scheme.ok());
  EXPECT_EQ(describe(*scheme), "a8 per tensor static");
  EXPECT_EQ(
      activation_refusal({{"dynamic", false}}),
      "a static scale per token cannot exist; with dynamic = false write granularity = \"tensor\"");
  EXPECT_EQ(activation_refusal({{"format", "dense"}}),
            "\"format\" is \"dense\"; expected \"int\", \"fp8-e4m3\", \"fp8-e5m2\"; leave the "
            "table out to keep "
            "activations in floats");
}

TEST(Scheme, GroupsCoverAWidthThatIsNoMultiple) {
  WeightScheme scheme;
  scheme.group_size = 64;
  EXPECT_EQ(scheme.group_count(128), 2);
  EXPECT_EQ(scheme.group_count(129), 3);
  EXPECT_EQ(scheme.group_width(129), 64);
  scheme.granularity = Granularity::kChannel;
  EXPECT_EQ(scheme.group_count(129), 1);
  EXPECT_EQ(scheme.group_width(129), 129);
}

TEST(Scheme, SurvivesTheWayToAValueAndBack) {
  for (const Table& table :
       {Table{}, Table{{"bits", 2}, {"symmetric", false}, {"convention", "llmc"}},
        Table{{"format", "fp8-e5m2"}, {"granularity", "tensor"}, {"scale_dtype", "fp32"}},
        Table{{"format", "dense"}}, Table{{"group", 48}, {"group_tail", "short"}}}) {
    const auto scheme = weight(table);
    ASSERT_TRUE(scheme.ok()) << scheme.status();
    const auto again = parse_weight_scheme(to_value(*scheme), WeightScheme{});
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, *scheme) << to_json(to_value(*scheme));
  }
  ActivationScheme activation;
  activation.format = NumberFormat::kFp8E4M3;
  EXPECT_EQ(*parse_activation_scheme(to_value(activation), {}), activation);
}

TEST(Scheme, IgnoresTheGroupSizeWhenComparingUngroupedSchemes) {
  WeightScheme a, b;
  b.group_size = 64;
  EXPECT_FALSE(a == b);
  a.granularity = b.granularity = Granularity::kChannel;
  EXPECT_TRUE(a == b);
}

TEST(Scheme, DescribesItselfInOneLine) {
  EXPECT_EQ(describe(*weight({{"group", 64}})), "w4 g64 symmetric");
  EXPECT_EQ(describe(*weight({{"granularity", "channel"}, {"bits", 8}, {"symmetric", false}})),
            "w8 per channel asymmetric");
  EXPECT_EQ(describe(*weight({{"format", "fp8-e4m3"}, {"granularity", "tensor"}})),
            "fp8-e4m3 per tensor");
  EXPECT_EQ(describe(*weight({{"format", "dense"}})), "floats");
  EXPECT_EQ(describe(ActivationScheme{}), "a8 per token");
}

}  // namespace
}  // namespace swage
