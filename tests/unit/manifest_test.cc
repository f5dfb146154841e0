#include "core/catalog/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace swage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kHead[] = "id = \"org.small\"\nversion = \"1.0.0\"\nsummary = \"Small.\"\n";
constexpr char kAlgorithm[] =
    "[[component]]\nkind = \"algorithm\"\nname = \"small\"\ninterface = \"algorithm/2\"\n"
    "summary = \"Does little.\"\n";

absl::StatusOr<Manifest> parse(const std::string& component) {
  return parse_manifest(kHead + component, "small.toml");
}
std::string refusal(const std::string& component) {
  return std::string(parse(component).status().message());
}
std::string param_refusal(const std::string& keys) {
  return refusal(std::string(kAlgorithm) +
                 "[[component.param]]\nname = \"damping\"\nhelp = \"Share.\"\n" + keys);
}

TEST(Manifest, HoldsWhatTheFileSays) {
  const auto manifest = parse(
      std::string(kAlgorithm) +
      "schemes = [\"weight\"]\ncalibration = true\n"
      "[[component.param]]\nname = \"damping\"\ntype = \"float\"\ndefault = 1\nmin = 0.0\nmax = 2\n"
      "help = \"Share.\"\n"
      "[[component.param]]\nname = \"order\"\ntype = \"choice\"\nchoices = [\"a\", \"b\"]\n"
      "optional = true\nhelp = \"Order.\"\n"
      "[[component]]\nkind = \"model\"\nname = \"small\"\ninterface = \"model/2\"\nsummary = "
      "\"M.\"\n"
      "architectures = [\"SmallForCausalLM\"]\nlinears = [\"a.*\"]\n");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->id, "org.small");
  ASSERT_EQ(manifest->components.size(), 2u);
  const ComponentManifest& algorithm = manifest->components[0];
  EXPECT_THAT(algorithm.schemes, ElementsAre("weight"));
  EXPECT_TRUE(algorithm.calibration);
  ASSERT_EQ(algorithm.params.size(), 2u);
  EXPECT_EQ(algorithm.params[0].default_value, Value(1.0)) << "an integer serves as a float";
  EXPECT_EQ(algorithm.params[0].maximum, 2.0);
  EXPECT_TRUE(algorithm.params[1].optional);
  EXPECT_TRUE(algorithm.params[1].default_value.is_null());
  EXPECT_EQ(manifest->components[1].interface, "model/2");
  EXPECT_THAT(manifest->components[1].linears, ElementsAre("a.*"));
}

TEST(Manifest, NamesUnknownKeysWithTheNearestKnownOne) {
  EXPECT_EQ(refusal(std::string(kAlgorithm) + "sumary = \"x\"\n"),
            "small.toml:9:1: \"sumary\": is no key of a component of this kind; did you mean "
            "\"summary\"?");
  EXPECT_THAT(refusal(std::string(kAlgorithm) + "linears = []\n"),
              HasSubstr("\"linears\": is no key of a component of this kind"));
  EXPECT_THAT(param_refusal("type = \"bool\"\nmin = 1\n"),
              HasSubstr("small.toml:13:1: \"min\": is no key of a parameter of type bool"));
}

TEST(Manifest, NamesWhatIsMissing) {
  EXPECT_EQ(refusal(""), "small.toml: no [[component]]; a plugin has at least one");
  EXPECT_THAT(std::string(parse_manifest(kAlgorithm, "m").status().message()),
              HasSubstr("\"id\": is missing"));
  EXPECT_THAT(refusal("[[component]]\nname = \"x\"\n"),
              HasSubstr("small.toml:4:1: \"kind\": is missing"));
  EXPECT_THAT(param_refusal(""), HasSubstr("\"type\": is missing"));
}

TEST(Manifest, RefusesWrongTypesAndNames) {
  EXPECT_EQ(refusal("component = 3\n"),
            "small.toml:4:1: \"component\": expected [[component]] tables");
  EXPECT_THAT(
      refusal("[[component]]\nkind = \"algorithms\"\n"),
      HasSubstr(
          "found \"algorithms\", expected one of model, algorithm, evaluator, exporter, format"));
  EXPECT_THAT(refusal("[[component]]\nkind = 1\n"), HasSubstr("found integer, expected a text"));
  EXPECT_THAT(std::string(parse_manifest("id = \"a b\"\n", "m").status().message()),
              HasSubstr("m:1:1: \"id\": found \"a b\", expected letters, digits"));
  EXPECT_THAT(
      refusal("[[component]]\nkind = \"model\"\nname = \"x\"\ninterface = \"algorithm/2\"\n"),
      HasSubstr("found \"algorithm/2\", expected \"model/2\""));
  EXPECT_THAT(refusal(std::string(kAlgorithm) + "calibration = 1\n"),
              HasSubstr("found integer, expected true or false"));
  EXPECT_THAT(refusal(std::string(kAlgorithm) + "schemes = [\"weights\"]\n"),
              HasSubstr("found \"weights\", expected \"weight\" or \"activation\""));
  EXPECT_THAT(refusal(std::string(kAlgorithm) + kAlgorithm),
              HasSubstr("a second algorithm \"small\""));
}

TEST(Manifest, RefusesDefaultsThatTheirOwnRulesForbid) {
  EXPECT_EQ(param_refusal("type = \"int\"\ndefault = \"4\"\n"),
            "small.toml:13:1: \"default\": found a string, expected an integer");
  EXPECT_THAT(param_refusal("type = \"int\"\ndefault = 9\nmax = 8\n"),
              HasSubstr("\"default\": found 9, expected an integer, at most 8"));
  EXPECT_THAT(param_refusal("type = \"float\"\nmin = 2\nmax = 1\n"), HasSubstr("min is above max"));
  EXPECT_THAT(param_refusal("type = \"choice\"\nchoices = [\"a\"]\ndefault = \"b\"\n"),
              HasSubstr("\"default\": found \"b\", expected one of \"a\""));
  EXPECT_THAT(param_refusal("type = \"choice\"\n"), HasSubstr("expected at least one choice"));
  EXPECT_THAT(param_refusal("type = \"strings\"\ndefault = [\"a\", 1]\n"),
              HasSubstr("found a list with an integer, expected a list of strings"));
  EXPECT_THAT(param_refusal("type = \"strings\"\ndefault = \"a\"\n"),
              HasSubstr("found a string, expected a list of strings"));
  EXPECT_THAT(param_refusal("type = \"numbers\"\nmax = 1\ndefault = [0.5, 2]\n"),
              HasSubstr("found a list with 2, expected a list of numbers, at most 1"));
  EXPECT_THAT(param_refusal("type = \"table\"\ndefault = []\n"),
              HasSubstr("found a list, expected a table"));
  EXPECT_THAT(
      param_refusal("type = \"int\"\n[[component.param]]\nname = \"damping\"\ntype = \"int\"\n"
                    "help = \"Again.\"\n"),
      HasSubstr("a second parameter \"damping\""));
}

TEST(Manifest, HasParametersForListsOfNumbersAndTables) {
  const auto manifest = parse(std::string(kAlgorithm) +
                              "[[component.param]]\nname = \"levels\"\ntype = \"numbers\"\n"
                              "min = -1\nmax = 1\ndefault = [0, 0.5]\nhelp = \"Levels.\"\n"
                              "[[component.param]]\nname = \"options\"\ntype = \"table\"\n"
                              "default = { a = [1] }\nhelp = \"Options.\"\n");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  const auto& params = manifest->components[0].params;
  EXPECT_EQ(to_json(params[0].default_value, -1), "[0.0,0.5]") << "integers serve as numbers";
  EXPECT_EQ(to_json(params[1].default_value, -1), R"({"a":[1]})");
}

TEST(Manifest, RefusesParametersThatTheHostWouldRead) {
  for (const char* name : {"use", "match", "weight", "kv", "override", "path", "format"}) {
    EXPECT_THAT(refusal(std::string(kAlgorithm) + "[[component.param]]\nname = \"" + name +
                        "\"\ntype = \"bool\"\nhelp = \"H.\"\n"),
                HasSubstr("small.toml:10:1: \"name\": \"" + std::string(name) +
                          "\" is a key of the host, now or in time to come; call the parameter "
                          "otherwise"));
  }
}

constexpr char kFormat[] =
    "[[component]]\nkind = \"format\"\nname = \"small\"\ninterface = \"format/1\"\n"
    "summary = \"Few bits.\"\ntables = [\"weight\", \"activation\"]\n"
    "[[component.param]]\nname = \"span\"\ntype = \"choice\"\nchoices = [\"all\", \"row\", "
    "\"part\"]\ndefault = \"row\"\nhelp = \"H.\"\n"
    "[[component.param]]\nname = \"even\"\ntype = \"bool\"\ndefault = true\ntables = "
    "[\"weight\"]\nhelp = \"H.\"\n[[component.param]]\nname = \"last\"\nhelp = \"H.\"\n";

TEST(Manifest, HasNoPathAmongTheKeysOfAFormat) {
  EXPECT_THAT(refusal(std::string(kFormat) + "type = \"path\"\n"),
              HasSubstr("keys of a scheme are values, no path"));
}

std::string format_refusal(const std::string& keys) { return refusal(kFormat + keys); }

TEST(Manifest, OfAFormatTellsWhereAndUnderWhatConditionsKeysExist) {
  const auto manifest =
      parse(std::string(kFormat) +
            "type = \"choice\"\nchoices = [\"a\", \"b\"]\ndefault = \"a\"\ntables = "
            "[\"weight\"]\nwhen = { span = [\"row\", \"part\"], even = true }\n"
            "needs = { b = { span = \"part\" } }\nmeasured = [\"b\"]\n"
            "[[component.param]]\nname = \"last\"\ntype = \"bool\"\ndefault = false\n"
            "tables = [\"activation\"]\nneeds = { true = { span = \"all\" } }\nmeasured = "
            "[true]\nhelp = \"H.\"\n");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  const ComponentManifest& format = manifest->components[0];
  EXPECT_THAT(format.tables, ElementsAre("weight", "activation"));
  const auto weight = keys_in(format.params, "weight");
  ASSERT_EQ(weight.size(), 3u) << "without tables a parameter stands in those of the format";
  const ParamManifest& last = weight[2];
  ASSERT_EQ(last.when.size(), 2u);
  EXPECT_EQ(last.when[1].key, "span");
  EXPECT_THAT(last.when[1].values, ElementsAre(Value("row"), Value("part")));
  ASSERT_EQ(last.needs.size(), 1u);
  EXPECT_EQ(last.needs[0].first, Value("b"));
  EXPECT_EQ(last.needs[0].second[0].key, "span");
  EXPECT_THAT(last.measured, ElementsAre(Value("b")));
  const auto activation = keys_in(format.params, "activation");
  ASSERT_EQ(activation.size(), 2u) << "a name may stand once for each table";
  EXPECT_EQ(activation[1].needs[0].first, Value(true));
}

TEST(Manifest, RefusesConditionsOfAFormatThatCannotHold) {
  EXPECT_EQ(format_refusal("type = \"int\"\nwhen = { spam = \"row\" }\n"),
            "small.toml:26:1: \"when\": \"spam\" is no parameter of the table weight that is "
            "declared before this one");
  EXPECT_THAT(format_refusal("type = \"int\"\nwhen = { last = 1 }\n"),
              HasSubstr("\"last\" is no parameter of the table weight"));
  EXPECT_THAT(format_refusal("type = \"int\"\nwhen = { even = true }\n"),
              HasSubstr("\"even\" is no parameter of the table activation"));
  EXPECT_THAT(format_refusal("type = \"int\"\nwhen = { span = \"rows\" }\n"),
              HasSubstr("\"span\" cannot be \"rows\"; expected one of \"all\", \"row\", \"part\""));
  EXPECT_THAT(format_refusal("type = \"int\"\nwhen = { span = [] }\n"),
              HasSubstr("\"span\" needs a value"));
  EXPECT_THAT(format_refusal("type = \"int\"\nwhen = {}\n"),
              HasSubstr("expected a table of keys and the values they need"));
  EXPECT_THAT(format_refusal("type = \"bool\"\nneeds = { maybe = { span = \"row\" } }\n"),
              HasSubstr("\"needs\": found \"maybe\", expected true or false"));
  EXPECT_THAT(format_refusal("type = \"bool\"\nmeasured = [\"x\"]\n"),
              HasSubstr("\"measured\": found a string, expected true or false"));
  EXPECT_THAT(format_refusal("type = \"int\"\nmeasured = [1]\n"),
              HasSubstr("\"measured\": is no key of a parameter of type int"));
  EXPECT_THAT(format_refusal("type = \"int\"\ntables = [\"kv\"]\n"),
              HasSubstr("found \"kv\", expected \"weight\" or \"activation\""));
  EXPECT_THAT(format_refusal("type = \"int\"\ntables = []\n"), HasSubstr("names no table"));
  EXPECT_THAT(param_refusal("type = \"int\"\nwhen = { a = 1 }\n"),
              HasSubstr("\"when\": is no key of a parameter of type int"))
      << "conditions are of formats alone";
  EXPECT_THAT(format_refusal("type = \"int\"\n[[component.param]]\nname = \"span\"\ntype = "
                             "\"int\"\ntables = [\"activation\"]\nhelp = \"H.\"\n"),
              HasSubstr("a second parameter \"span\""));
}

}  // namespace
}  // namespace swage
