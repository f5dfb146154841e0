#include "core/config/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config/formats.h"
#include "tests/config/test_catalog.h"

namespace swage {
namespace {

// The table that an entry with this `use` must be.
const Value& entry_of(const Value& schema, const std::string& section, const std::string& use) {
  static const Value none;
  const Value::List* rules = schema["properties"][section]["items"]["allOf"].list();
  if (rules == nullptr) return none;
  for (const Value& rule : *rules) {
    if (rule["if"]["properties"]["use"].str("const", "") == use) return rule["then"];
  }
  return none;
}

const Value& step_of(const Value& schema, const std::string& use) {
  return entry_of(schema, "step", use);
}

TEST(Schema, DescribesEveryComponentAsAClosedTable) {
  const Value schema = pipeline_schema(testing_support::small_catalog());
  EXPECT_EQ(schema.str("$schema", ""), "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(to_json(schema["properties"]["step"]["items"]["properties"]["use"]["enum"], -1),
            R"(["round","sweep","smooth"])");
  const Value& sweep = step_of(schema, "sweep");
  EXPECT_EQ(
      to_json(sweep["properties"]["damping"], -1),
      R"({"default":0.01,"description":"What damping is for.","maximum":1.0,"minimum":0.0,"type":"number"})");
  EXPECT_EQ(to_json(sweep["properties"]["order"]["enum"], -1), R"(["none","activation"])");
  EXPECT_EQ(to_json(sweep["required"], -1), R"(["use"])");
  EXPECT_FALSE(sweep.flag("additionalProperties", true));
  EXPECT_EQ(to_json(entry_of(schema, "evaluate", "score")["required"], -1), R"(["use","source"])");
}

TEST(Schema, AsksForTheModelUnlessTheFileIncludesOthers) {
  const Value schema = pipeline_schema(testing_support::small_catalog());
  EXPECT_FALSE(schema.has("required"));
  EXPECT_EQ(to_json(schema["if"], -1), R"({"not":{"required":["include"]}})");
  EXPECT_EQ(to_json(schema["then"]["required"], -1), R"(["model"])");
  EXPECT_EQ(to_json(schema["then"]["properties"]["model"], -1), R"({"required":["path"]})");
  EXPECT_FALSE(schema["properties"]["calibration"].has("required"));
}

TEST(Schema, ChoosesTheTableOfAnEntryByItsUse) {
  const Value schema = pipeline_schema(testing_support::small_catalog());
  for (const char* section : {"step", "evaluate", "export"}) {
    const Value& items = schema["properties"][section]["items"];
    EXPECT_FALSE(items.has("oneOf")) << section;
    EXPECT_FALSE(items.has("anyOf")) << section;
  }
}

TEST(Schema, OffersSchemesOnlyWhereTheComponentTakesThem) {
  const Value schema = pipeline_schema(testing_support::small_catalog());
  EXPECT_TRUE(step_of(schema, "round")["properties"].has("activation"));
  EXPECT_FALSE(step_of(schema, "sweep")["properties"].has("activation"));
  EXPECT_FALSE(step_of(schema, "smooth")["properties"].has("weight"));
  EXPECT_EQ(step_of(schema, "sweep")["properties"]["weight"].str("$ref", ""), "#/$defs/weight");
}

TEST(Schema, LeavesOutPluginsThatCannotBeUsed) {
  PluginEntry refused;
  refused.state = PluginState::kRefused;
  refused.manifest.components = {testing_support::component("algorithm", "broken")};
  const Value schema = pipeline_schema(Catalog::from({refused}));
  EXPECT_FALSE(schema["properties"]["step"]["items"].has("allOf"));
}

// The rule of a scheme table for one format, or for a table that names none.
const Value& rule_of(const Value& schema, const std::string& table, const std::string& format) {
  static const Value none;
  const Value::List* rules = schema["$defs"][table]["allOf"].list();
  if (rules == nullptr) return none;
  for (const Value& rule : *rules) {
    if (rule["if"]["properties"]["format"].str("const", "") == format) return rule["then"];
  }
  return none;
}

TEST(Schema, ChoosesTheKeysOfASchemeByItsFormat) {
  const Value schema = pipeline_schema(testing_support::small_catalog());
  const std::string formats =
      to_json(schema["$defs"]["weight"]["properties"]["format"]["enum"], -1);
  for (const char* name : {"\"fp8-e4m3\"", "\"int\"", "\"nvfp4\"", "\"q4_k\""})
    EXPECT_THAT(formats, testing::HasSubstr(name));
  const Value& integers = rule_of(schema, "weight", "int");
  EXPECT_FALSE(integers.flag("additionalProperties", true));
  EXPECT_EQ(
      to_json(integers["properties"]["bits"], -1),
      R"({"default":4,"description":"Bits of a code.","maximum":8,"minimum":2,"type":"integer"})");
  EXPECT_THAT(integers["properties"]["group"].str("description", ""),
              testing::EndsWith(" Only with granularity = \"group\"."));
  EXPECT_FALSE(rule_of(schema, "weight", "fp8-e4m3")["properties"].has("bits"));
  EXPECT_FALSE(rule_of(schema, "weight", "int")["properties"].has("dynamic"));
  EXPECT_TRUE(rule_of(schema, "activation", "int")["properties"].has("dynamic"));
}

// Such a table lies over one of any format: [scheme]'s, or a step's.
TEST(Schema, OffersTheKeysOfAllFormatsWhereNoneIsNamed) {
  const Value schema = pipeline_schema(testing_support::small_catalog());
  const Value& any = rule_of(schema, "weight", "");
  EXPECT_EQ(to_json(schema["$defs"]["weight"]["allOf"].list()->back()["if"], -1),
            R"({"not":{"required":["format"]}})");
  for (const std::string& key : known_scheme_keys("weight"))
    EXPECT_EQ(any["properties"].has(key), key != "format") << key;
  EXPECT_EQ(any["properties"]["granularity"]["anyOf"].list()->size(), 3u)
      << "\"group\" is the default of one format, \"channel\" and \"tensor\" of others";
}

TEST(Schema, TakesListsOfNumbersAndTablesForParameters) {
  ParamManifest levels = testing_support::param("levels", "numbers", Value(Value::List{1.0}));
  levels.maximum = 2;
  PluginEntry plugin;
  plugin.file = "x";
  plugin.state = PluginState::kCompatible;
  plugin.manifest.components = {testing_support::component(
      "algorithm", "mine", {levels, testing_support::param("options", "table")})};
  const Value schema = pipeline_schema(Catalog::from({plugin}));
  const Value& mine = step_of(schema, "mine")["properties"];
  EXPECT_EQ(to_json(mine["levels"]["oneOf"], -1),
            R"([{"maximum":2.0,"type":"number"},)"
            R"({"items":{"maximum":2.0,"type":"number"},"type":"array"}])");
  EXPECT_EQ(mine["options"].str("type", ""), "object");
}

}  // namespace
}  // namespace swage
