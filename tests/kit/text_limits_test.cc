// Files of a model that would take memory or time without end are refused soon.
#include <gmock/gmock.h>

#include <chrono>
#include <functional>

#include "swage/image/processor.h"
#include "swage/text/tokenizer.h"

namespace swage::text {
namespace {

using ::testing::HasSubstr;

constexpr const char* kModel = R"("model":{"type":"BPE","merges":[],"vocab":{"a":0,"b":1}})";

TEST(TextLimits, ReplacementsThatGrowWithoutEndAreStopped) {
  std::string steps;
  for (int i = 0; i < 40; ++i) {
    steps += std::string(i > 0 ? "," : "") +
             R"({"type":"Replace","pattern":{"String":"a"},"content":"aa"})";
  }
  const auto tokenizer =
      Tokenizer::create(std::string(R"({"normalizer":{"type":"Sequence","normalizers":[)") + steps +
                            "]}," + kModel + "}",
                        "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string text(1 << 20, 'a');
  EXPECT_THAT(std::string((*tokenizer)->encode(text, false).status().message()),
              HasSubstr("Replace makes 16777216 bytes and more out of 1048576 bytes of text"));
  EXPECT_TRUE((*tokenizer)->encode("b", false).ok());
}

TEST(TextLimits, AnAddedTokenHasABoundedLength) {
  const std::string token(5000, 'a');
  const auto tokenizer = Tokenizer::create(
      R"({"added_tokens":[{"id":2,"content":")" + token + R"(","special":true}],)" + kModel + "}",
      "");
  EXPECT_THAT(std::string(tokenizer.status().message()),
              HasSubstr("token 2 has 5000 bytes, at most 4096 are read"));
}

std::unique_ptr<Tokenizer> tokenizer_with(const std::vector<std::string>& added) {
  std::string list;
  for (size_t i = 0; i < added.size(); ++i)
    list += (i == 0 ? "" : ",") + std::string(R"({"id":)") + std::to_string(i + 2) +
            R"(,"content":")" + added[i] + R"(","special":true})";
  auto made = Tokenizer::create(R"({"added_tokens":[)" + list + "]," + kModel + "}", "");
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(TextLimits, TimeDoesNotGrowWithTheNumberOfAddedTokens) {
  const auto seconds = [](int count) {
    std::vector<std::string> added;
    for (int i = 0; i < count; ++i) added.push_back("<|extra_" + std::to_string(i) + "|>");
    return seconds_of([&] {
      const auto tokenizer = tokenizer_with(added);
      const auto ids =
          tokenizer->encode("a<|extra_7|>b<|extra_" + std::to_string(count - 1) + "|>", false);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(*ids, (std::vector<int64_t>{0, 9, 1, count + 1}));
    });
  };
  const double few = seconds(10'000);
  EXPECT_LT(seconds(100'000), 40 * few + 1);  // a hundred times were quadratic
}

TEST(TextLimits, LongAddedTokensDoNotMakeATextSlow) {
  const std::string long_one(4000, 'a');
  const auto tokenizer = tokenizer_with({long_one + "b", long_one + "c", "aaab"});
  const std::string text = std::string(1 << 20, 'a') + "b";
  EXPECT_LT(seconds_of([&] {
              const auto ids = tokenizer->encode(text, false);
              ASSERT_TRUE(ids.ok()) << ids.status();
              EXPECT_EQ(ids->back(), 2);
              EXPECT_EQ(ids->size(), text.size() - 4001 + 1);
            }),
            10);
}

TEST(TextLimits, AddedTokensHaveABoundedSizeTogether) {
  std::string list;
  for (int i = 0; i < 1100; ++i)
    list += (i == 0 ? "" : ",") + std::string(R"({"id":)") + std::to_string(i + 2) +
            R"(,"content":")" + std::to_string(i) + std::string(4000, 'a') + R"("})";
  const auto tokenizer = Tokenizer::create(R"({"added_tokens":[)" + list + "]," + kModel + "}", "");
  EXPECT_THAT(std::string(tokenizer.status().message()),
              HasSubstr("1100 tokens have more than 4 MiB together"));
}

TEST(TextLimits, APictureIsCroppedToASizeThatFitsIntoMemory) {
  const Value config = parse_json(R"({"image_processor_type": "CLIPImageProcessor",
                                      "size": {"shortest_edge": 28},
                                      "crop_size": {"height": 60000, "width": 60000}})",
                                  "")
                           .value();
  EXPECT_THAT(std::string(image::clip_processor(config).status().message()),
              HasSubstr("crop_size: "));
}

}  // namespace
}  // namespace swage::text
