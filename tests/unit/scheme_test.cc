#include "swage/scheme.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "swage/params.h"

namespace swage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const Scheme kScheme{"int",
                     {{"bits", 4}, {"symmetric", true}, {"range", "mse"}, {"mse_norm", 2.4}}};

TEST(Scheme, HandsOutItsKeysByType) {
  EXPECT_EQ(kScheme.i64("bits"), 4);
  EXPECT_TRUE(kScheme.flag("symmetric"));
  EXPECT_EQ(kScheme.text("range"), "mse");
  EXPECT_EQ(kScheme.f64("mse_norm"), 2.4);
  EXPECT_EQ(kScheme.f64("bits"), 4.0) << "an integer serves as a number";
  EXPECT_TRUE(kScheme.has("bits"));
  EXPECT_FALSE(kScheme.has("group"));
}

TEST(Scheme, ThrowsWhereCodeAndManifestDisagree) {
  const auto told = [](auto read) -> std::string {
    try {
      read();
    } catch (const std::out_of_range& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(told([] { kScheme.i64("group"); }),
            "scheme key \"group\" is not there: code and manifest disagree");
  EXPECT_EQ(
      told([] { kScheme.flag("bits"); }),
      "scheme key \"bits\" is an integer, asked for true or false: code and manifest disagree");
  EXPECT_NE(told([] { kScheme.text("symmetric"); }), "");
  EXPECT_NE(told([] { kScheme.f64("range"); }), "");
}

TEST(Scheme, IsEqualToOneOfTheSameFormatAndKeys) {
  Scheme other = kScheme;
  EXPECT_TRUE(other == kScheme);
  other.keys["bits"] = 3;
  EXPECT_TRUE(other != kScheme);
  other = kScheme;
  other.format = "fp8-e4m3";
  EXPECT_TRUE(other != kScheme);
}

TEST(Scheme, SurvivesTheWayToAValueAndBack) {
  const Value value = to_value(kScheme);
  EXPECT_EQ(to_json(value, -1),
            R"({"bits":4,"format":"int","mse_norm":2.4,"range":"mse","symmetric":true})");
  const auto parsed = parse_json(to_json(value), "");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*scheme_from(*parsed), kScheme);
  EXPECT_EQ(*scheme_from(to_value(Scheme{"mine", {}})), (Scheme{"mine", {}}));
}

TEST(Scheme, IsReadBackFromNothingButATableWithAFormat) {
  EXPECT_EQ(std::string(scheme_from(Value(4)).status().message()),
            "a scheme is a table with the name of its format, found an integer");
  EXPECT_THAT(std::string(scheme_from(Value(Value::Table{{"bits", 4}})).status().message()),
              HasSubstr("found one without"));
  EXPECT_FALSE(scheme_from(Value(Value::Table{{"format", 3}})).ok());
  EXPECT_FALSE(scheme_from(Value()).ok());
}

TEST(Params, HandsOutListsOfNumbersAndTables) {
  const Params params({{"levels", Value::List{-1.0, 2, 0.5}},
                       {"words", Value::List{"a"}},
                       {"options", Value::Table{{"a", 1}}}});
  EXPECT_THAT(params.numbers("levels"), ElementsAre(-1.0, 2.0, 0.5));
  EXPECT_EQ(params.value("options")["a"], Value(1));
  EXPECT_THROW(params.numbers("words"), std::out_of_range);
  EXPECT_THROW(params.numbers("options"), std::out_of_range);
  EXPECT_THROW(params.value("gone"), std::out_of_range);
}

}  // namespace
}  // namespace swage
