#include "core/catalog/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace swage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kHead[] = "id = \"org.small\"\nversion = \"1.0.0\"\nsummary = \"Small.\"\n";
constexpr char kAlgorithm[] =
    "[[component]]\nkind = \"algorithm\"\nname = \"small\"\ninterface = \"algorithm/1\"\n"
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
      HasSubstr("found \"algorithms\", expected one of model, algorithm, evaluator, exporter"));
  EXPECT_THAT(refusal("[[component]]\nkind = 1\n"), HasSubstr("found integer, expected a text"));
  EXPECT_THAT(std::string(parse_manifest("id = \"a b\"\n", "m").status().message()),
              HasSubstr("m:1:1: \"id\": found \"a b\", expected letters, digits"));
  EXPECT_THAT(
      refusal("[[component]]\nkind = \"model\"\nname = \"x\"\ninterface = \"algorithm/1\"\n"),
      HasSubstr("found \"algorithm/1\", expected \"model/1\""));
  EXPECT_THAT(refusal(std::string(kAlgorithm) + "calibration = 1\n"),
              HasSubstr("found integer, expected true or false"));
  EXPECT_THAT(refusal(std::string(kAlgorithm) + "schemes = [\"weights\"]\n"),
              HasSubstr("found \"weights\", expected \"weight\" or \"activation\""));
  EXPECT_THAT(refusal(std::string(kAlgorithm) + kAlgorithm),
              HasSubstr("a second algorithm \"small\""));
}

TEST(Manifest, RefusesDefaultsThatTheirOwnRulesForbid) {
  EXPECT_EQ(param_refusal("type = \"int\"\ndefault = \"4\"\n"),
            "small.toml:13:1: \"default\": found string, expected a value of type int");
  EXPECT_THAT(param_refusal("type = \"int\"\ndefault = 9\nmax = 8\n"),
              HasSubstr("the default 9 is outside of min and max"));
  EXPECT_THAT(param_refusal("type = \"float\"\nmin = 2\nmax = 1\n"), HasSubstr("min is above max"));
  EXPECT_THAT(param_refusal("type = \"choice\"\nchoices = [\"a\"]\ndefault = \"b\"\n"),
              HasSubstr("the default \"b\" is none of the choices a"));
  EXPECT_THAT(param_refusal("type = \"choice\"\n"), HasSubstr("expected at least one choice"));
  EXPECT_THAT(param_refusal("type = \"strings\"\ndefault = [\"a\", 1]\n"),
              HasSubstr("expected a list of texts"));
  EXPECT_THAT(
      param_refusal("type = \"int\"\n[[component.param]]\nname = \"damping\"\ntype = \"int\"\n"
                    "help = \"Again.\"\n"),
      HasSubstr("a second parameter \"damping\""));
}

}  // namespace
}  // namespace swage
