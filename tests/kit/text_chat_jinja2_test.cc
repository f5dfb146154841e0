// Renderings equal to those of the PyPI package jinja2 3.1 as transformers sets it up;
// data/chat/make_expected.py makes what is compared with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "swage/text/chat_template.h"
#include "tests/kit/text_files.h"

namespace swage::text {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using testing_text::read_text;
using testing_text::test_data;

ordered_json read_json(const std::string& name) {
  return ordered_json::parse(read_text(test_data("chat/" + name)));
}

// The moment that make_expected.py tells: Sunday, 9 March 2025, 8:05.
std::tm moment() {
  std::tm now{};
  now.tm_year = 125;
  now.tm_mon = 2;
  now.tm_mday = 9;
  now.tm_hour = 8;
  now.tm_min = 5;
  now.tm_wday = 0;
  now.tm_yday = 67;
  return now;
}

ChatOptions options_of(const ordered_json& given, const ordered_json& tokens) {
  ChatOptions options;
  options.now = moment();
  options.add_generation_prompt = given.value("add_generation_prompt", false);
  if (given.contains("tools")) options.tools = given["tools"].dump();
  if (given.contains("documents")) options.documents = given["documents"].dump();
  ordered_json variables = tokens;
  if (given.contains("variables")) variables.update(given["variables"]);
  options.variables = variables.dump();
  return options;
}

void expect_rendering(const absl::StatusOr<std::string>& rendered, const ordered_json& expected) {
  if (expected.is_string()) {
    ASSERT_TRUE(rendered.ok()) << rendered.status();
    EXPECT_EQ(*rendered, expected.get<std::string>());
    return;
  }
  ASSERT_FALSE(rendered.ok()) << "rendered as " << *rendered;
  EXPECT_EQ(rendered.status().code(), absl::StatusCode::kInvalidArgument);
  if (expected.is_object() && expected["error"].is_string()) {
    EXPECT_THAT(rendered.status().ToString(), HasSubstr(expected["error"].get<std::string>()));
  }
}

TEST(ChatJinja2, RendersConversationsAsJinja2Does) {
  const ordered_json expected = read_json("expected.json"), data = read_json("conversations.json");
  size_t compared = 0;
  for (const auto& [family, renderings] : expected["templates"].items()) {
    const auto chat =
        ChatTemplate::parse(read_text(test_data("chat/templates/" + family + ".jinja")));
    ASSERT_TRUE(chat.ok()) << family << ": " << chat.status();
    for (const ordered_json& item : data["cases"]) {
      SCOPED_TRACE(family + ", " + item["name"].get<std::string>());
      expect_rendering(
          chat->render(item["messages"].dump(), options_of(item["options"], data["tokens"])),
          renderings[item["name"].get<std::string>()]);
      ++compared;
    }
  }
  EXPECT_GE(compared, 500u);
}

TEST(ChatJinja2, RendersEveryConstructAsJinja2Does) {
  const ordered_json expected = read_json("expected.json")["snippets"],
                     data = read_json("snippets.json");
  ASSERT_EQ(expected.size(), data["templates"].size());
  ASSERT_GT(expected.size(), 800u);
  ChatOptions options = options_of(ordered_json::object(), data["variables"]);
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::string text = data["templates"][i];
    SCOPED_TRACE(text);
    const auto chat = ChatTemplate::parse(text);
    expect_rendering(chat.ok() ? chat->render("[]", options) : chat.status(), expected[i]);
  }
}

}  // namespace
}  // namespace swage::text
