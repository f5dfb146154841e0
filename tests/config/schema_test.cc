#include "core/config/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config/keys.h"
#include "swage/scheme.h"
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

// Two lists of scheme keys exist: the one that is shown and the parser. Here they are held
// together.
TEST(Schema, ShowsTheSchemeKeysAndDefaultsThatTheParserHas) {
  Value::Table weight, activation;
  for (const ParamManifest& key : scheme_keys("weight")) weight[key.name] = key.default_value;
  for (const ParamManifest& key : scheme_keys("activation"))
    activation[key.name] = key.default_value;
  const auto parsed = parse_weight_scheme(Value(weight), WeightScheme{});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, WeightScheme{});
  EXPECT_EQ(to_json(to_value(*parsed)), to_json(Value(weight)));
  const auto parsed_activation = parse_activation_scheme(Value(activation), ActivationScheme{});
  ASSERT_TRUE(parsed_activation.ok()) << parsed_activation.status();
  EXPECT_EQ(to_json(to_value(*parsed_activation)), to_json(Value(activation)));
  for (const std::string table : {"weight", "activation"}) {
    for (const ParamManifest& key : scheme_keys(table)) {
      for (const std::string& choice : key.choices) {
        const Value value(Value::Table{{key.name, choice}});
        EXPECT_TRUE(table == "weight" ? parse_weight_scheme(value, {}).ok()
                                      : parse_activation_scheme(value, {}).ok())
            << key.name << " = " << choice;
      }
    }
  }
}

}  // namespace
}  // namespace swage
