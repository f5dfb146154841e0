#include "core/config/formats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "tests/config/test_catalog.h"

namespace swage {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::component;
using testing_support::param;
using Table = Value::Table;

const Formats& builtin() {
  static const auto* const formats = new Formats(Catalog::from({}));
  return *formats;
}

// A scheme, and what is wrong with it: "key: text".
struct Read {
  Scheme scheme;
  std::vector<std::string> problems;
};
Read read(const std::string& table, const Value& given, const Scheme& base = {},
          const Formats& formats = builtin()) {
  std::vector<SchemeProblem> problems;
  Read result{read_scheme(formats, table, given, base, &problems), {}};
  for (const SchemeProblem& problem : problems)
    result.problems.push_back(problem.key + ": " + problem.text);
  return result;
}

Scheme weight(Table given, const Scheme& base = {}) {
  const Read result = read("weight", Value(std::move(given)), base);
  EXPECT_THAT(result.problems, ElementsAre());
  return result.scheme;
}
Scheme activation(Table given, const Scheme& base = {}) {
  const Read result = read("activation", Value(std::move(given)), base);
  EXPECT_THAT(result.problems, ElementsAre());
  return result.scheme;
}
std::string refusal(Table given, const Scheme& base = {}, const std::string& table = "weight") {
  const Read result = read(table, Value(std::move(given)), base);
  EXPECT_EQ(result.scheme, base) << "what is wrong changes nothing";
  return absl::StrJoin(result.problems, "\n");
}

TEST(ReadScheme, NamesNoKeyOfOtherFormats) {
  EXPECT_EQ(refusal({{"format", "nvfp4"}, {"group_size", 16}}),
            "group_size: \"group_size\" is no key of weight = { format = \"nvfp4\" }; this format "
            "has no key for that, its keys are decoded, format, mse_norm, range, share, "
            "tensor_scale");
  EXPECT_THAT(refusal({{"format", "fp8-e4m3"}, {"zero_point", true}}),
              HasSubstr("this format has no key for that"));
}

TEST(ReadScheme, FillsInEveryKeyWhoseConditionHolds) {
  EXPECT_EQ(to_json(to_value(weight({})), -1),
            R"({"bits":4,"convention":"minmax","format":"int","granularity":"group","group":128,)"
            R"("group_scale":"float","group_tail":"error","mse_norm":2.4,"range":"minmax",)"
            R"("scale_dtype":"auto","share":"none","symmetric":true})");
  EXPECT_EQ(to_json(to_value(activation({})), -1),
            R"({"bits":8,"dynamic":true,"format":"int","granularity":"token","symmetric":true})");
  EXPECT_EQ(to_json(to_value(weight({{"format", "fp8-e4m3"}})), -1),
            R"({"format":"fp8-e4m3","granularity":"channel","mse_norm":2.4,"range":"minmax",)"
            R"("scale_dtype":"auto","share":"none"})");
  EXPECT_EQ(weight({{"symmetric", false}}).text("zero"), "int");
  EXPECT_FALSE(weight({{"granularity", "channel"}}).has("group"));
  EXPECT_EQ(weight({{"granularity", "block"}}).i64("block_rows"), 128);
}

TEST(ReadScheme, KeepsTheKeysOfTheBaseThatATableDoesNotName) {
  const Scheme base = weight({{"bits", 3}, {"symmetric", false}, {"zero", "float"}});
  const Scheme scheme = weight({{"group", 32}}, base);
  EXPECT_EQ(scheme.i64("bits"), 3);
  EXPECT_EQ(scheme.text("zero"), "float");
  EXPECT_EQ(scheme.i64("group"), 32);
  EXPECT_EQ(weight({}, base), base);
  EXPECT_EQ(weight({{"format", "int"}, {"group", 32}}, base), scheme)
      << "to name the format that holds already changes nothing";
}

TEST(ReadScheme, StartsAfreshWithAnotherFormat) {
  const Scheme base = weight({{"bits", 3}, {"granularity", "tensor"}, {"range", "mse"}});
  EXPECT_EQ(weight({{"format", "fp8-e4m3"}}, base), weight({{"format", "fp8-e4m3"}}))
      << "granularity and range are keys of both, and yet of two formats";
  const Scheme fp8 = weight({{"format", "fp8-e5m2"}, {"granularity", "tensor"}});
  EXPECT_EQ(weight({{"format", "int"}}, fp8), weight({}));
}

TEST(ReadScheme, SetsWhatAKeyNeeds) {
  const Scheme channel = weight({{"granularity", "channel"}});
  EXPECT_EQ(weight({{"group", 64}}, channel).text("granularity"), "group");
  EXPECT_EQ(weight({{"group_tail", "short"}}, channel).text("granularity"), "group");
  EXPECT_EQ(weight({{"block_columns", 32}}).text("granularity"), "block");
  EXPECT_FALSE(weight({{"block_columns", 32}}).has("group"));
  EXPECT_FALSE(weight({{"zero", "float"}}).flag("symmetric"));
  // Through more than one condition.
  const Scheme tensor = activation({{"granularity", "tensor"}});
  const Scheme percentile = activation({{"percentile", 99}}, tensor);
  EXPECT_EQ(percentile.text("static_range"), "percentile");
  EXPECT_FALSE(percentile.flag("dynamic"));
}

TEST(ReadScheme, DoesNotOverruleWhatTheTableItselfSays) {
  EXPECT_EQ(refusal({{"granularity", "channel"}, {"group", 64}}),
            "group: \"group\" needs granularity = \"group\", found \"channel\"");
  EXPECT_EQ(refusal({{"symmetric", true}, {"zero", "int"}}),
            "zero: \"zero\" needs symmetric = false, found true");
  EXPECT_EQ(refusal({{"group", 64}, {"block_rows", 64}}),
            "block_rows: \"block_rows\" needs granularity = \"block\", but \"group\" "
            "beside it needs \"group\"");
  EXPECT_EQ(refusal({{"group", 64}, {"block_rows", 64}}, weight({{"granularity", "block"}})),
            "block_rows: \"block_rows\" needs granularity = \"block\", but \"group\" "
            "beside it needs \"group\"")
      << "whatever the base is";
}

TEST(ReadScheme, RefusesValuesThatDoNotGoTogether) {
  EXPECT_EQ(refusal({{"convention", "full-range"}, {"symmetric", false}}),
            "convention: convention = \"full-range\" needs symmetric = true, found false");
  EXPECT_EQ(refusal({{"symmetric", false}}, weight({{"convention", "full-range"}})),
            "symmetric: convention = \"full-range\" needs symmetric = true, found false");
  EXPECT_EQ(refusal({{"dynamic", false}}, {}, "activation"),
            "dynamic: dynamic = false needs granularity = \"tensor\", found \"token\"");
  EXPECT_EQ(refusal({{"headroom", 1.1}}, {}, "activation"),
            "granularity: dynamic = false needs granularity = \"tensor\", found \"token\"");
  EXPECT_EQ(refusal({{"share", "fused"}}),
            "share: share = \"fused\" needs granularity = \"tensor\", found \"group\"");
}

TEST(ReadScheme, NamesTheNearestKeyOrTheFormatThatHasIt) {
  EXPECT_EQ(refusal({{"bit", 4}}),
            "bit: \"bit\" is no key of weight = { format = \"int\" }; did you mean \"bits\"?");
  EXPECT_EQ(refusal({{"format", "fp8-e4m3"}, {"convention", "gptq"}}),
            "convention: \"convention\" is no key of weight = { format = \"fp8-e4m3\" }; it is one "
            "of format \"int\", here are block_columns, block_rows, format, granularity, group, "
            "mse_norm, range, scale_dtype, share");
  EXPECT_EQ(refusal({{"dynamic", true}}),
            "dynamic: \"dynamic\" is no key of weight = { format = \"int\" }; it is a key of "
            "activation = { … }");
  EXPECT_EQ(refusal({{"group_size", 64}}),
            "group_size: \"group_size\" is no key of weight = { format = \"int\" }; here it is "
            "called \"group\"");
}

TEST(ReadScheme, RefusesValuesOutOfRangeOrOfAnotherType) {
  EXPECT_EQ(refusal({{"bits", 9}, {"symmetric", 1}}),
            "bits: \"bits\" is 9; expected an integer, 2 to 8\n"
            "symmetric: \"symmetric\" is an integer; expected true or false")
      << "all that is wrong at once";
  EXPECT_EQ(refusal({{"bits", "4"}}), "bits: \"bits\" is a string; expected an integer, 2 to 8");
  EXPECT_EQ(refusal({{"range", "max"}}),
            "range: \"range\" is \"max\"; expected one of \"minmax\", \"mse\", \"weighted\"");
  EXPECT_EQ(refusal({{"group", -1}}),
            "group: \"group\" is -1; expected an integer, 1 to 1073741824; for one scale a row "
            "write granularity = \"channel\"");
  EXPECT_THAT(read("weight", Value(4)).problems,
              ElementsAre(": a scheme is a table such as { bits = 4 }, found an integer"));
  EXPECT_THAT(
      read("weight", Value("fp8-e4m3")).problems,
      ElementsAre(": a scheme is a table such as { bits = 4 }, found a string; write weight "
                  "= { format = \"fp8-e4m3\" }"));
  EXPECT_EQ(weight({{"mse_norm", 2}}).f64("mse_norm"), 2.0);
  EXPECT_EQ(weight({{"mse_norm", 2}}), weight({{"mse_norm", 2.0}})) << "as numbers, not as text";
}

TEST(ReadScheme, NamesTheNearestFormatOrWhatToWriteForAForeignOne) {
  EXPECT_EQ(refusal({{"format", "fp8-e4m4"}}),
            "format: there is no format \"fp8-e4m4\"; did you mean \"fp8-e4m3\"?");
  EXPECT_EQ(refusal({{"format", "int4"}}),
            "format: there is no format \"int4\"; write format = \"int\" with bits = 4");
  EXPECT_EQ(refusal({{"format", "float8_e4m3fn"}}),
            "format: there is no format \"float8_e4m3fn\"; write format = \"fp8-e4m3\"");
  EXPECT_EQ(refusal({{"format", "dense"}}),
            "format: there is no format \"dense\"; write [[step.override]] with keep = true, which "
            "leaves linears in floats");
  EXPECT_EQ(refusal({{"format", 8}}),
            "format: \"format\" is the name of a number format, such as \"int\"");
}

// A plugin with one format, for weights alone.
PluginEntry powers(PluginState state = PluginState::kCompatible) {
  ParamManifest levels = param("levels", "numbers");
  ParamManifest steps = param("steps", "int", Value(4));
  steps.optional = true;
  ParamManifest scale = param("scale", "choice", Value("plain"));
  scale.choices = {"plain", "measured"};
  scale.measured = {"measured"};
  ComponentManifest format = component("format", "powers", {levels, steps, scale});
  format.tables = {"weight"};
  for (ParamManifest& one : format.params) one.tables = format.tables;
  format.params[1].default_value = Value();
  PluginEntry plugin;
  plugin.file = "powers.swage.so";
  plugin.state = state;
  plugin.reason = "too old";
  plugin.manifest.id = "powers";
  plugin.manifest.components = {format};
  return plugin;
}

TEST(ReadScheme, TakesFormatsOfPlugins) {
  const Formats formats(Catalog::from({powers()}));
  const Table table = {{"format", "powers"}, {"levels", Value::List{1, 0.5}}};
  const Read good = read("weight", Value(table), {}, formats);
  EXPECT_THAT(good.problems, ElementsAre());
  EXPECT_EQ(to_json(to_value(good.scheme), -1),
            R"({"format":"powers","levels":[1.0,0.5],"scale":"plain"})")
      << "an optional key is absent";
  EXPECT_THAT(read("weight", Value(Table{{"format", "powers"}}), {}, formats).problems,
              ElementsAre(": format \"powers\" lacks \"levels\", a list of numbers: What levels is "
                          "for."));
  EXPECT_THAT(read("activation", Value(table), {}, formats).problems,
              ElementsAre("format: \"format\" is \"powers\", which is none for activation tables; "
                          "those are fp4, fp6-e2m3, fp6-e3m2, fp8-e4m3, fp8-e5m2, int, mxfp4, "
                          "mxfp6, mxfp8, nvfp4"));
}

TEST(ReadScheme, TellsOfARefusedFileThatHoldsTheFormat) {
  const Formats formats(Catalog::from({powers(PluginState::kRefused)}));
  std::vector<SchemeProblem> problems;
  read_scheme(formats, "weight", Value(Table{{"format", "powers"}}), {}, &problems);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].text,
            "there is no format \"powers\"; powers.swage.so holds it but is refused: too old");
  EXPECT_EQ(problems[0].code, ExitCode::kPlugin);
  PluginEntry broken = powers(PluginState::kRefused);
  broken.manifest = {};
  EXPECT_THAT(
      read("weight", Value(Table{{"format", "powers"}}), {}, Formats(Catalog::from({broken})))
          .problems,
      ElementsAre(
          AllOf(HasSubstr("there is no format \"powers\"; known are affine, bnb-fp4, codebook, "),
                HasSubstr("q8_0; powers.swage.so is not usable: too old"))));
}

TEST(Formats, KnowWhichSchemesMeasureInputs) {
  EXPECT_FALSE(measures(builtin(), "weight", weight({{"range", "mse"}})));
  EXPECT_TRUE(measures(builtin(), "weight", weight({{"range", "weighted"}})));
  EXPECT_FALSE(measures(builtin(), "activation", activation({{"granularity", "tensor"}})));
  EXPECT_TRUE(measures(builtin(), "activation",
                       activation({{"granularity", "tensor"}, {"dynamic", false}})));
  EXPECT_FALSE(measures(builtin(), "weight", Scheme{"gone", {}}));
}

TEST(Formats, ListTheKeysThatAreCompleted) {
  EXPECT_THAT(
      known_scheme_keys("activation"),
      ElementsAre("bits", "dynamic", "element", "format", "granularity", "group", "headroom",
                  "percentile", "scale_rule", "static_range", "symmetric", "tensor_scale"));
  EXPECT_THAT(known_scheme_keys("weight"), testing::Contains("block_rows"));
}

}  // namespace
}  // namespace swage
