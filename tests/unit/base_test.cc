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
