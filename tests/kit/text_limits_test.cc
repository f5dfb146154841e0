// Files of a model that would take memory or time without end are refused soon.
#include <gmock/gmock.h>

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
              HasSubstr("Replace makes more than 256 MiB out of "));
}

TEST(TextLimits, AnAddedTokenHasABoundedLength) {
  const std::string token(5000, 'a');
  const auto tokenizer = Tokenizer::create(
      R"({"added_tokens":[{"id":2,"content":")" + token + R"(","special":true}],)" + kModel + "}",
      "");
  EXPECT_THAT(std::string(tokenizer.status().message()),
              HasSubstr("token 2 has 5000 bytes, at most 4096 are read"));
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
