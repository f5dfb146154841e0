#include <gtest/gtest.h>

#include "core/base/bytes.h"
#include "core/base/glob.h"
#include "core/base/suggest.h"

namespace swage {
namespace {

TEST(Suggest, FindsTheWordThatWasMeant) {
  const std::vector<std::string> known = {"bits", "group", "symmetric", "calibrate_on"};
  EXPECT_EQ(nearest("bit", known), "bits");
  EXPECT_EQ(nearest("gruop", known), "group");
  EXPECT_EQ(nearest("Calibrate-On", known), "calibrate_on");
  EXPECT_EQ(nearest("sym", known), "symmetric");
}

TEST(Suggest, StaysSilentWhenNothingIsNear) {
  EXPECT_EQ(nearest("damping", {"bits", "group"}), "");
  EXPECT_EQ(nearest("", {"a"}), "");
  EXPECT_EQ(nearest("x", {"y"}), "");
  EXPECT_EQ(nearest("x", {}), "");
  EXPECT_EQ(suggestion("damping", {"group", "bits"}), "; known are bits, group");
  EXPECT_EQ(suggestion("bit", {"group", "bits"}), "; did you mean \"bits\"?");
}

TEST(Glob, StarCrossesDots) {
  EXPECT_TRUE(glob_match("*.down_proj", "model.layers.3.mlp.down_proj"));
  EXPECT_TRUE(glob_match("model.layers.*.mlp.*", "model.layers.3.mlp.down_proj"));
  EXPECT_FALSE(glob_match("*.down_proj", "model.layers.3.mlp.down_proj.weight"));
  EXPECT_FALSE(glob_match("down_proj", "model.layers.3.mlp.down_proj"));
}

TEST(Glob, KnowsQuestionMarksAndAlternatives) {
  EXPECT_TRUE(glob_match("layers.?.{q,k}_proj", "layers.1.k_proj"));
  EXPECT_FALSE(glob_match("layers.?.{q,k}_proj", "layers.10.k_proj"));
  EXPECT_FALSE(glob_match("layers.?.{q,k}_proj", "layers.1.v_proj"));
  EXPECT_TRUE(glob_match("{a,}b", "b"));
  EXPECT_TRUE(glob_match("a{b", "a{b"));
  EXPECT_TRUE(glob_match("", ""));
  EXPECT_TRUE(glob_match("**", ""));
  EXPECT_FALSE(glob_match("?", ""));
}

TEST(Glob, AnswersQuicklyOnHostilePatterns) {
  std::string pattern, text(2000, 'a');
  for (int i = 0; i < 500; ++i) pattern += "*a";
  EXPECT_FALSE(glob_match(pattern + "b", text));
  std::string braces;
  for (int i = 0; i < 40; ++i) braces += "{a,b}";
  EXPECT_FALSE(glob_match(braces, "c"));
  EXPECT_TRUE(glob_match(braces, std::string(20, 'a') + std::string(20, 'b')));
  EXPECT_FALSE(glob_match(braces, std::string(41, 'a')));
  std::string stars;
  for (int i = 0; i < 400; ++i) stars += "{*a,*b,}";
  EXPECT_FALSE(glob_match(stars + "*c?", text));
}

TEST(Glob, MatchesHoweverManyAlternativesThereAre) {
  std::string many = "{";
  for (int i = 0; i < 1500; ++i) many += std::to_string(i) + ",";
  const std::string glob = "model.layers." + many + "last}.mlp.*_proj";
  for (const char* layer : {"0", "999", "1000", "1499", "last"})
    EXPECT_TRUE(glob_match(glob, "model.layers." + std::string(layer) + ".mlp.up_proj")) << layer;
  EXPECT_FALSE(glob_match(glob, "model.layers.1500.mlp.up_proj"));
}

// What the alternatives stand for, written out.
bool match_written_out(const std::string& pattern, const std::string& text) {
  const size_t open = pattern.find('{'),
               close = open == std::string::npos ? open : pattern.find('}', open);
  if (close == std::string::npos) return glob_match(pattern, text);
  for (size_t begin = open + 1; begin <= close;) {
    const size_t end = std::min(pattern.find(',', begin), close);
    const std::string chosen = pattern.substr(begin, end - begin);
    if (match_written_out(pattern.substr(0, open) + chosen + pattern.substr(close + 1), text))
      return true;
    begin = end + 1;
  }
  return false;
}

TEST(Glob, AlternativesMeanWhatTheyStandFor) {
  const std::vector<std::string> pieces = {"a",     "b",       "*",   "?", "{a,b}",
                                           "{,ab}", "{a*,b?}", "{*}", ","};
  uint32_t state = 1;
  const auto draw = [&](size_t below) {
    return (state = state * 1664525 + 1013904223) / 65536 % below;
  };
  int matches = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string pattern, text;
    for (size_t n = draw(6); n > 0; --n) pattern += pieces[draw(pieces.size())];
    for (size_t n = draw(6); n > 0; --n) text += "ab,"[draw(3)];
    matches += glob_match(pattern, text) ? 1 : 0;
    ASSERT_EQ(glob_match(pattern, text), match_written_out(pattern, text))
        << pattern << " " << text;
  }
  EXPECT_GT(matches, 1000);
}

TEST(Glob, RefusesPatternsThatCannotBeHeldAgainstEveryName) {
  EXPECT_TRUE(check_glob(std::string(16384, 'a')).ok());
  EXPECT_EQ(check_glob(std::string(16385, 'a')).message(),
            "a pattern of 16385 characters, at most 16384 are matched; give several patterns");
}

TEST(Bytes, PrintsThreeDigits) {
  EXPECT_EQ(bytes_to_text(0), "0 B");
  EXPECT_EQ(bytes_to_text(999), "999 B");
  EXPECT_EQ(bytes_to_text(1000), "1.00 kB");
  EXPECT_EQ(bytes_to_text(1234567890), "1.23 GB");
  EXPECT_EQ(bytes_to_text(269'060'552), "269 MB");
  EXPECT_EQ(bytes_to_text(999'999), "1.00 MB");
  EXPECT_EQ(bytes_to_text(-12'345), "-12.3 kB");
}

TEST(Bytes, ReadsDecimalAndBinaryUnits) {
  EXPECT_EQ(*bytes_from_text("4096"), 4096);
  EXPECT_EQ(*bytes_from_text("24GB"), 24'000'000'000);
  EXPECT_EQ(*bytes_from_text("1.5 GiB"), 1'610'612'736);
  EXPECT_EQ(*bytes_from_text("512 kb"), 512'000);
}

TEST(Bytes, RefusesWhatIsNoSize) {
  for (const char* text : {"", "GB", "-3GB", "12 parsecs", "1e3", "99999999999TB", "nan"}) {
    const auto size = bytes_from_text(text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_EQ(std::string(size.status().message()),
              std::string("\"") + text +
                  "\" is no size; expected for example \"24GB\", \"512 MiB\" or \"4096\"");
  }
}

}  // namespace
}  // namespace swage
