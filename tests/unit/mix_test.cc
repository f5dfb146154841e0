#include "core/config/mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace swage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Mix must_parse(const std::string& toml) {
  const auto mix = parse_mix(toml, "test", "test.mix.toml");
  EXPECT_TRUE(mix.ok()) << mix.status();
  return mix.ok() ? *mix : Mix();
}

std::string error_of(const std::string& toml) {
  const auto mix = parse_mix(toml, "test", "test.mix.toml");
  return mix.ok() ? "" : std::string(mix.status().message());
}

// The mixes that come with Swage, by name.
Mix installed(const std::string& name) {
  const std::filesystem::path file = std::filesystem::path(std::getenv("SWAGE_SOURCE_DIR")) /
                                     "backends/mixes" / (name + ".mix.toml");
  std::ifstream stream(file);
  std::stringstream text;
  text << stream.rdbuf();
  return must_parse(text.str());
}

std::string formats_of(const Mix& mix, const MixModel& model, const std::string& end) {
  std::string all;
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    const std::string name = "model.layers." + std::to_string(layer) + "." + end;
    all += mix.format_of(model, name, MixPlace::kBlock) + " ";
  }
  return all;
}

TEST(Mix, TheFirstRuleThatFitsCounts) {
  const Mix mix = must_parse(R"(
summary = "s"
format = "a"
[[rule]]
match = ["*.v_proj"]
first = 1
format = "b"
[[rule]]
match = ["*.v_proj", "*.down_proj"]
format = "c"
)");
  const MixModel model{3, 1, 0, false};
  EXPECT_EQ(formats_of(mix, model, "self_attn.v_proj"), "b c c ");
  EXPECT_EQ(formats_of(mix, model, "mlp.down_proj"), "c c c ");
  EXPECT_EQ(formats_of(mix, model, "mlp.up_proj"), "a a a ");
}

TEST(Mix, TheHeadOfATiedModelIsItsEmbedding) {
  const Mix mix = must_parse("summary = \"s\"\nformat = \"a\"\nhead = \"b\"\n");
  MixModel model{1, 1, 0, false};
  EXPECT_EQ(mix.format_of(model, "model.embed_tokens", MixPlace::kEmbedding), "a");
  EXPECT_EQ(mix.format_of(model, "lm_head", MixPlace::kHead), "b");
  model.tied = true;
  EXPECT_EQ(mix.format_of(model, "model.embed_tokens", MixPlace::kEmbedding), "b");
}

// What llama.cpp's quantizer gives a model of 16 layers.
TEST(Mix, GivesTheTypesOfLlamaCpp) {
  const MixModel model{16, 3, 0, true};
  EXPECT_EQ(formats_of(installed("q4_k_m"), model, "self_attn.v_proj"),
            "q6_k q6_k q4_k q4_k q6_k q4_k q4_k q6_k q4_k q4_k q6_k q4_k q4_k q6_k q6_k q6_k ");
  EXPECT_EQ(formats_of(installed("q4_k_s"), {16, 3, 0, true}, "mlp.down_proj").substr(0, 15),
            "q5_k q5_k q4_k ");
  EXPECT_EQ(formats_of(installed("q3_k_m"), {2, 3, 0, true}, "self_attn.o_proj"), "q4_k q4_k ");
  EXPECT_EQ(formats_of(installed("q2_k"), {1, 4, 0, true}, "self_attn.v_proj"), "q4_k ");
  EXPECT_EQ(formats_of(installed("q2_k"), {1, 3, 0, true}, "self_attn.v_proj"), "q3_k ");
  EXPECT_EQ(formats_of(installed("q5_k_m"), {1, 4, 8, true}, "self_attn.k_proj"), "q8_0 ");
  EXPECT_EQ(formats_of(installed("q4_0"), {2, 3, 0, true}, "mlp.down_proj"), "q4_0 q4_0 ");
  EXPECT_THAT(installed("q4_k_m").formats(),
              ElementsAre("q4_k", "q6_k", "q8_0", "q5_k", "q5_0", "q5_1"));
}

TEST(Mix, RefusesWhatItDoesNotKnow) {
  EXPECT_THAT(error_of("format = \"a\"\n"), HasSubstr("\"summary\" is missing"));
  EXPECT_THAT(error_of("summary = \"s\"\nformat = \"a\"\nhaed = \"b\"\n"),
              HasSubstr("test.mix.toml:3:8: \"haed\" is no key"));
  EXPECT_THAT(error_of("summary = \"s\"\nformat = \"a\"\n[[rule]]\nformat = \"b\"\n"),
              HasSubstr("\"match\" is a list of globs"));
  EXPECT_THAT(error_of("summary = \"s\"\nformat = \"a\"\n[fallback]\na = \"b\"\nb = \"a\"\n"),
              HasSubstr("circle"));
  EXPECT_THAT(error_of("summary = \"s\"\nformat = \"a\"\n[[rule]]\nmatch = [\"*\"]\nfirst = 0\n"
                       "format = \"b\"\n"),
              HasSubstr("at least 1"));
}

}  // namespace
}  // namespace swage
