#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "swage/text/chat_template.h"

namespace swage::text {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kMessages[] = R"([{"role": "system", "content": "Be brief."},
                                 {"role": "user", "content": "Hi"}])";

std::string rendered(std::string_view text, std::string_view variables = "") {
  const auto chat = ChatTemplate::parse(text);
  if (!chat.ok()) return chat.status().ToString();
  ChatOptions options;
  options.variables = variables;
  const auto result = chat->render(kMessages, options);
  return result.ok() ? *result : result.status().ToString();
}

TEST(ChatTemplate, RendersMessagesWithSpecialTokens) {
  const auto chat = ChatTemplate::parse(
      "{{ bos_token }}{% for m in messages %}\n[{{ m.role }}] {{ m['content'] }}\n{% endfor %}\n"
      "{% if add_generation_prompt %}\n[assistant]\n{% endif %}\n",
      {{"bos_token", "<s>"}});
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(*chat->render(kMessages), "<s>[system] Be brief.\n[user] Hi\n");
  ChatOptions options;
  options.add_generation_prompt = true;
  EXPECT_EQ(*chat->render(kMessages, options), "<s>[system] Be brief.\n[user] Hi\n[assistant]\n");
  options.variables = R"({"bos_token": "<B>"})";
  EXPECT_THAT(*chat->render(kMessages, options), StartsWith("<B>["));
}

TEST(ChatTemplate, PrintsValuesAsPythonDoes) {
  EXPECT_EQ(rendered("{{ [1, 2.0, none, true, 'a', \"it's\", (1,), {'k': 1e16}] }}"),
            "[1, 2.0, None, True, 'a', \"it's\", (1,), {'k': 1e+16}]");
  EXPECT_EQ(rendered("{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 'ab' * 2 }} {{ 'abc'[::-1] }}"),
            "-4 2 3.5 abab cba");
  EXPECT_EQ(rendered("{{ v | tojson }} {{ v | tojson(separators=(',', ':')) }}",
                     R"({"v": {"z": 1, "a": [1.0, null, "é\n"]}})"),
            R"({"z": 1, "a": [1.0, null, "é\n"]} {"z":1,"a":[1.0,null,"é\n"]})");
  EXPECT_EQ(rendered("[{{ nothing }}][{{ messages[0].nothing }}][{{ tools }}]"), "[][][None]");
}

TEST(ChatTemplate, GivesTheVariablesOfTheOptions) {
  const auto chat = ChatTemplate::parse(
      "{{ tools[0].name }} {{ documents | length }} {{ level }} {{ strftime_now('%d %b %Y %H:%M') "
      "}}");
  ASSERT_TRUE(chat.ok()) << chat.status();
  ChatOptions options;
  options.tools = R"([{"name": "f"}])";
  options.documents = "[{}, {}]";
  options.variables = R"({"level": 3})";
  options.now.emplace();
  options.now->tm_year = 99;
  options.now->tm_mon = 11;
  options.now->tm_mday = 31;
  options.now->tm_hour = 23;
  options.now->tm_min = 59;
  EXPECT_EQ(*chat->render(kMessages, options), "f 2 3 31 Dec 1999 23:59");
}

TEST(ChatTemplate, RefusesInputsThatAreNotWhatTheyShouldBe) {
  const auto chat = ChatTemplate::parse("x");
  ASSERT_TRUE(chat.ok());
  EXPECT_THAT(chat->render("{}").status().ToString(), HasSubstr("messages: expected a JSON list"));
  EXPECT_THAT(chat->render("").status().ToString(), HasSubstr("messages"));
  EXPECT_THAT(chat->render("[1,").status().ToString(),
              HasSubstr("messages: this is not valid JSON at its byte 4 (it ends too early)"));
  EXPECT_THAT(chat->render(std::string(200, '[') + std::string(200, ']')).status().ToString(),
              HasSubstr("nested deeper than 128 levels"));
  EXPECT_THAT(chat->render("[18446744073709551615]").status().ToString(),
              HasSubstr("more than 64 bits"));
  EXPECT_THAT(chat->render("[\"\xff\"]").status().ToString(), HasSubstr("messages: "));
  ChatOptions options;
  options.tools = "5";
  EXPECT_THAT(chat->render("[]", options).status().ToString(),
              HasSubstr("tools: expected a JSON list"));
  options.tools.clear();
  options.variables = R"({"messages": []})";
  EXPECT_THAT(chat->render("[]", options).status().ToString(),
              HasSubstr("\"messages\" has an option of its own"));
}

TEST(ChatTemplate, TellsWhereAnErrorIs) {
  EXPECT_EQ(rendered("a\n{{ 1 + }}"),
            "INVALID_ARGUMENT: 2:8: unexpected \"}}\", expected an expression");
  EXPECT_EQ(rendered("{% if x %}\n\nb"),
            "INVALID_ARGUMENT: 3:2: unexpected the end of the template, expected \"{% endif %}\"");
  EXPECT_EQ(rendered("é{% for x in y %}{% endif %}"),
            "INVALID_ARGUMENT: 1:21: unexpected tag \"endif\" without its beginning");
  EXPECT_EQ(rendered("\n {{ messages.nothing.more }}"),
            "INVALID_ARGUMENT: 2:21: 'list object' has no attribute 'nothing'");
  EXPECT_EQ(rendered("{{ 'a' | uper }}"),
            "INVALID_ARGUMENT: 1:10: there is no filter named \"uper\"; did you mean \"upper\"?");
  EXPECT_EQ(rendered("{{ raise_exception('no ' ~ 7) }}"),
            "INVALID_ARGUMENT: 1:19: the template says: no 7");
  EXPECT_EQ(rendered("{{ 1 < 'a' }}"),
            "INVALID_ARGUMENT: 1:6: '<' not supported between instances of 'int' and 'str'");
  EXPECT_EQ(rendered("{# no end"),
            "INVALID_ARGUMENT: 1:1: the comment that begins here has no end \"#}\"");
  EXPECT_EQ(rendered("{{ messages.append(1) }}"),
            "INVALID_ARGUMENT: 1:19: this method changes a list, which a template may not do");
  EXPECT_THAT(rendered("{% include 'x' %}"), HasSubstr("unexpected tag \"include\""));
  EXPECT_THAT(rendered("\xc3("), HasSubstr("byte 0 of the template is not valid UTF-8"));
}

class ChatTemplateLimits : public testing::TestWithParam<const char*> {};

// Each of these would take all memory, all time or the whole stack.
TEST_P(ChatTemplateLimits, EndHostileTemplates) {
  const auto start = std::chrono::steady_clock::now();
  const auto chat = ChatTemplate::parse(GetParam());
  ASSERT_TRUE(chat.ok()) << chat.status();
  const auto result = chat->render(kMessages);
  ASSERT_FALSE(result.ok()) << result->size();
  EXPECT_THAT(result.status().ToString(), testing::AnyOf(HasSubstr("limit"), HasSubstr("more than"),
                                                         HasSubstr("nested deeper")));
  // Generous: sanitizers and loaded machines are slow.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

INSTANTIATE_TEST_SUITE_P(
    Hostile, ChatTemplateLimits,
    testing::Values(
        "{{ 'x' * 10 ** 9 }}", "{{ 10 ** 9 * 'x' }}", "{{ [0] * 10 ** 9 }}",
        "{{ [] * 10 ** 15 ~ 'x' * 2 ** 62 }}", "{{ range(10 ** 9) | list }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(x) %}{{ f(x) ~ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(g) %}{% call g(g) %}{% endcall %}{{ caller }}{% endmacro %}{{ f(f) }}",
        "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% "
        "endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor "
        "%}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% "
        "endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=(1, 2)) %}{% for i in range(99) %}{% set ns.x = (ns.x, ns.x) %}{% "
        "endfor %}{{ {ns.x: 1} }}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
        "{{ ('x' * 10 ** 6).replace('x', 'y' * 10 ** 6) }}",
        "{{ ('x' * 10 ** 6).replace('', 'y' * 10 ** 6) }}",
        "{{ ('x' * 10 ** 6).join(range(99999) | map('string')) }}",
        "{{ range(99999) | join('x' * 10 ** 6) }}",
        "{% set x = 'x' * 10 ** 6 %}{% for i in range(99999) %}{{ x }}{% endfor %}",
        "{% set x = 'x' * 10 ** 7 %}{% for i in range(99999) %}{% set y = x.strip('xyz') %}{% "
        "endfor %}",
        "{% set x = 'a' * 10 ** 7 %}{% for i in range(99999) %}{% set y = x in x ~ 'b' %}{% endfor "
        "%}",
        "{% set l = range(99999) | list %}{% for i in l %}{% set y = l == l[:] %}{% endfor %}",
        "{{ [[[[range(99999) | list]]]] | tojson(indent='x' * 10 ** 6) }}",
        "{{ 'a\n' * 10 ** 6 | int }}{{ ('a\n' * 10 ** 6) | indent('x' * 10 ** 6) }}",
        "{{ '%99999999d' % 1 }}", "{{ strftime_now('%' ~ '9' * 9 ~ 'd') }}",
        "{{ strftime_now('%c' * 9 ** 5) }}", "{{ 2 ** 9 ** 9 }}", "{{ 9223372036854775807 + 1 }}",
        "{{ -9223372036854775807 - 2 }}", "{{ (-9223372036854775807 - 1) // -1 }}",
        "{{ (-9223372036854775807 - 1) | abs }}"));

TEST(ChatTemplate, LimitsHowDeepTemplatesNest) {
  const auto repeated = [](const std::string& part) {
    std::string text;
    for (int i = 0; i < 50'000; ++i) text += part;
    return text;
  };
  for (const std::string& text :
       {"{{ " + repeated("(") + "1" + repeated(")") + " }}",
        "{{ " + repeated("[") + repeated("]") + " }}", "{{ " + repeated("not ") + "1 }}",
        "{{ " + repeated("-") + "1 }}", "{{ 1" + repeated(" + 1") + " }}",
        "{{ x" + repeated(".a") + " }}", "{{ x" + repeated("|e") + " }}",
        "{{ x" + repeated("()") + " }}", "{{ 1" + repeated(" if 1 else 1") + " }}",
        "{{ 1" + repeated(" and 1") + " }}", "{{ 1" + repeated(" is odd()") + " }}",
        repeated("{% if 1 %}"), repeated("{% for a in b %}"), "{% for " + repeated("("),
        "{{ " + repeated("x[1:"), "{{ " + repeated("f(a="), "{{ " + repeated("{1:")}) {
    const auto chat = ChatTemplate::parse(text);
    ASSERT_FALSE(chat.ok()) << text.substr(0, 40);
    EXPECT_THAT(chat.status().ToString(), testing::AnyOf(HasSubstr("nested deeper than"),
                                                         HasSubstr("an expression of more than")))
        << text.substr(0, 40);
  }
  EXPECT_THAT(ChatTemplate::parse(std::string(2 << 20, 'x')).status().ToString(),
              HasSubstr("the limit is 1048576"));
  EXPECT_EQ(
      rendered("{{ 1" + std::string(50'000, ' ') + repeated(" ~ 1").substr(0, 4000) + " }}").size(),
      1001u);
  EXPECT_EQ(
      rendered(std::string("{% if 0 %}") + repeated("{% elif 0 %}") + "{% else %}x{% endif %}"),
      "x");
}

TEST(ChatTemplate, ServesSeveralThreads) {
  const auto chat = ChatTemplate::parse(
      "{% set ns = namespace(n=0) %}{% macro f(x) %}{{ x }};{% endmacro %}"
      "{% for i in range(200) %}{% set ns.n = ns.n + i %}{{ f(i) }}{% endfor %}{{ ns.n }}");
  ASSERT_TRUE(chat.ok());
  const std::string expected = *chat->render(kMessages);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 20; ++k) EXPECT_EQ(*chat->render(kMessages), expected);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

class ChatTemplateFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "swage_chat_template";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  std::string load_and_render(const ChatOptions& options = {}) const {
    const auto chat = ChatTemplate::load(folder_.string());
    if (!chat.ok()) return chat.status().ToString();
    const auto result = chat->render(kMessages, options);
    return result.ok() ? *result : result.status().ToString();
  }

  std::filesystem::path folder_;
};

TEST_F(ChatTemplateFolder, FindsTheTemplateInTheOrderOfTransformers) {
  EXPECT_THAT(load_and_render(), AllOf(StartsWith("NOT_FOUND"), HasSubstr("chat_template.jinja"),
                                       HasSubstr("base models")));
  write("tokenizer_config.json",
        R"({"chat_template": "config {{ bos_token }}", "bos_token": "<s>"})");
  EXPECT_EQ(load_and_render(), "config <s>");
  write("chat_template.json", R"({"chat_template": "processor {{ bos_token }}"})");
  EXPECT_EQ(load_and_render(), "processor <s>");
  write("chat_template.jinja", "file {{ bos_token }}\n");
  EXPECT_EQ(load_and_render(), "file <s>");
}

TEST_F(ChatTemplateFolder, ChoosesTheTemplateForTools) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "plain"},
        {"name": "tool_use", "template": "tools: {{ tools | length }}"}, {"name": "rag", "template": "{{"}]})");
  EXPECT_EQ(load_and_render(), "plain");
  ChatOptions options;
  options.tools = "[1, 2]";
  EXPECT_EQ(load_and_render(options), "tools: 2");
  write("tokenizer_config.json",
        R"({"chat_template": [{"name": "default", "template": "plain"}]})");
  EXPECT_EQ(load_and_render(options), "plain");
}

TEST_F(ChatTemplateFolder, ReadsSpecialTokens) {
  write("chat_template.jinja",
        "{{ bos_token }} {{ eos_token }} {{ pad_token is defined }} {{ image_token }} {{ "
        "additional_special_tokens }}");
  write("tokenizer_config.json",
        R"({"bos_token": {"content": "<b>", "lstrip": false}, "eos_token": "<e>", "pad_token": null,
        "add_bos_token": true, "image_token": "<i>"})");
  write("special_tokens_map.json",
        R"({"eos_token": "hidden", "additional_special_tokens": ["<x>", {"content": "<y>"}]})");
  EXPECT_EQ(load_and_render(), "<b> <e> False <i> ['<x>', '<y>']");
}

TEST_F(ChatTemplateFolder, NamesTheFileThatIsBroken) {
  write("chat_template.jinja", "ok\n{% if %}");
  EXPECT_THAT(load_and_render(), HasSubstr("chat_template.jinja: 2:7: unexpected"));
  std::filesystem::remove(folder_ / "chat_template.jinja");
  write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_THAT(
      load_and_render(),
      HasSubstr("tokenizer_config.json: chat_template: a integer, expected a text or a list"));
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_THAT(load_and_render(), HasSubstr("no template is named \"default\""));
  write("tokenizer_config.json", R"({"chat_template": [{"template": "x"}]})");
  EXPECT_THAT(load_and_render(), HasSubstr("in the list"));
  write("tokenizer_config.json", "[]");
  EXPECT_THAT(load_and_render(),
              HasSubstr("tokenizer_config.json: the file is a list, expected an object"));
  write("tokenizer_config.json", "{");
  EXPECT_THAT(load_and_render(), HasSubstr("tokenizer_config.json:1:"));
}

}  // namespace
}  // namespace swage::text
