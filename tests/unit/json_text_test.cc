// Mistakes in JSON are said in our words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swage/value.h"

namespace swage {
namespace {

TEST(JsonText, SaysWhatIsWrongAndWhere) {
  const std::pair<std::string, std::string> cases[] = {
      {"{\"a\": 1", "it ends too early"},
      {"{\"a\": \"b", "it ends within a string"},
      {"{\"a\": \"b\nc\"}", "a control character, such as a line end, stands within a string"},
      {"{\"a\": \"\\x\"}", "a string holds a \\ that JSON does not know"},
      {"{\"a\": \"\\u12\"}", "a \\u in a string needs four hexadecimal digits"},
      {"{\"a\": \"\xff\"}", "it holds bytes that are no UTF-8"},
      {"{\"a\": 1.}", "a number is written as JSON has none"},
      {"{\"a\": 1e999}", "a number is too large"},
      {"{\"a\": NaN}", "NaN is no number of JSON, though Python writes it"},
      {"{\"a\": True}", "a word is none of JSON's true, false and null"},
      {"{\"a\": tru}", "a word is none of JSON's true, false and null"},
      {"{a: 1}", "the key of an object is expected here, in double quotes"},
      {"{\"a\" 1}", "a : is expected here"},
      {"{\"a\": 1 \"b\": 2}", "a , or } is expected here"},
      {"[1 2]", "a , or ] is expected here"},
      {"[1,]", "a value is expected here"},
      {"{} {}", "something follows behind its end"}};
  for (const auto& [text, meaning] : cases) {
    const std::string told(parse_json(text, "c.json").status().message());
    EXPECT_THAT(told, testing::HasSubstr("this is not valid JSON (" + meaning + ")")) << text;
    EXPECT_THAT(told, testing::Not(testing::HasSubstr("exception"))) << text;
  }
  EXPECT_THAT(std::string(parse_json("{\n  \"a\": }", "c.json").status().message()),
              testing::StartsWith("c.json:2:8: this is not valid JSON"));
}

}  // namespace
}  // namespace swage
