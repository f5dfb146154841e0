#include "core/config/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config/keys.h"
#include "swage/scheme.h"
#include "tests/config/test_catalog.h"

namespace swage {
namespace {

const Value& step_of(const Value& schema, const std::string& use) {
  for (const Value& choice : *schema["properties"]["step"]["items"]["oneOf"].list()) {
    if (choice["properties"]["use"].str("const", "") == use) return choice;
  }
  static const Value none;
  return none;
}

TEST(Schema, DescribesEveryComponentAsAClosedTable) {
  const Value schema = pipeline_schema(testing_support::small_catalog());
  EXPECT_EQ(schema.str("$schema", ""), "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema["properties"]["step"]["items"]["oneOf"].list()->size(), 3u);
  const Value& sweep = step_of(schema, "sweep");
  EXPECT_EQ(
      to_json(sweep["properties"]["damping"], -1),
      R"({"default":0.01,"description":"What damping is for.","maximum":1.0,"minimum":0.0,"type":"number"})");
  EXPECT_EQ(to_json(sweep["properties"]["order"]["enum"], -1), R"(["none","activation"])");
  EXPECT_EQ(to_json(sweep["required"], -1), R"(["use"])");
  EXPECT_FALSE(sweep.flag("additionalProperties", true));
  const Value& score = (*schema["properties"]["evaluate"]["items"]["oneOf"].list())[0];
  EXPECT_EQ(to_json(score["required"], -1), R"(["use","source"])");
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
  EXPECT_FALSE(schema["properties"]["step"]["items"].has("oneOf"));
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
