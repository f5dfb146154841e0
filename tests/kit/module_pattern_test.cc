#include "swage/store/module_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swage/store/config_table.h"

namespace swage::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Names = std::vector<std::string>;

std::vector<Names> texts(const std::vector<Names>& sets) {
  std::vector<Names> all;
  for (const std::vector<ModuleRule>& rules : module_rules(sets)) {
    all.emplace_back();
    for (const ModuleRule& rule : rules)
      all.back().push_back((rule.is_name ? "= " : "") + rule.text);
  }
  return all;
}

TEST(ModulePattern, KnowsTheStackOfAModule) {
  EXPECT_EQ(stack_of("model.layers.3.mlp.experts.7.up_proj"), "model.layers");
  EXPECT_EQ(stack_of("model.vision_tower.encoder.layers.0.fc1"),
            "model.vision_tower.encoder.layers");
  EXPECT_EQ(stack_of("lm_head"), "");
  EXPECT_EQ(generalized("17"), "\\d+");
  EXPECT_EQ(generalized("v2-x"), "v2\\-x");
}

TEST(ModulePattern, RulesMatchTheirOwnSetAlone) {
  EXPECT_THAT(texts({{"model.layers.0.up", "model.layers.1.up"}, {"model.layers.0.down"}}),
              ElementsAre(ElementsAre(R"((.*\.)?layers\.\d+\.up$)"),
                          ElementsAre(R"((.*\.)?layers\.\d+\.down$)")));
  EXPECT_THAT(texts({{"model.layers.0.up"}, {"model.layers.1.up"}}),
              ElementsAre(ElementsAre(R"((.*\.)?layers\.0\.up$)"),
                          ElementsAre(R"((.*\.)?layers\.1\.up$)")));
  EXPECT_THAT(texts({{"model.text.layers.0.up"}, {"model.sight.layers.0.up"}}),
              ElementsAre(ElementsAre(R"((.*\.)?text\.(.*\.)?layers\.\d+\.up$)"),
                          ElementsAre(R"((.*\.)?sight\.(.*\.)?layers\.\d+\.up$)")));
  EXPECT_THAT(texts({{"layers.0.up"}, {"model.layers.0.up"}}),
              ElementsAre(ElementsAre("= layers.0.up"), ElementsAre("= model.layers.0.up")));
}

TEST(ModulePattern, MatchesAsPythonDoes) {
  const std::string name = "model.layers.12.mlp.up_proj";
  EXPECT_TRUE(*matches_expression("model", name, Anchor::kStart));
  EXPECT_FALSE(*matches_expression("layers", name, Anchor::kStart));
  EXPECT_TRUE(*matches_expression("layers", name, Anchor::kAnywhere));
  EXPECT_TRUE(*matches_expression(R"(.*\.(?:1[0-5])\..*)", name, Anchor::kStart));
  EXPECT_FALSE(*matches_expression("(?!.*up_proj).*", name, Anchor::kStart));
  EXPECT_THAT(std::string(matches_expression("(", name, Anchor::kStart).status().message()),
              HasSubstr("\"(\" is not understood"));
  EXPECT_THAT(
      std::string(
          matches_expression(std::string(2000, '.'), name, Anchor::kStart).status().message()),
      HasSubstr("is larger than 1024 characters"));
}

TEST(ConfigTable, KeepsTheFirstMistake) {
  const Value value(
      Value::Table{{"w_bit", 5}, {"sym", 1}, {"name", "x"}, {"empty", Value::List()}});
  ConfigTable table(value, "quantization_config");
  EXPECT_EQ(table.text({"other", "name"}, ""), "x");
  EXPECT_EQ(table.integer({"absent"}, 0, 9, 7), 7);
  table.expect_none("empty");
  EXPECT_TRUE(table.status().ok());
  table.integer({"bits", "w_bit"}, {2, 4});
  EXPECT_TRUE(table.flag("sym", true));
  EXPECT_EQ(table.status().message(),
            "config.json: quantization_config.w_bit is 5, expected one of 2, 4");
  EXPECT_EQ(ConfigTable(Value(3), "a").status().message(), "config.json: a is 3, expected a table");
}

}  // namespace
}  // namespace swage::store
