#include <gtest/gtest.h>

#include <cstdlib>

#include "swage/text/calibration.h"
#include "tests/kit/text_files.h"

namespace swage::text {
namespace {

using testing_text::write_temporary;

constexpr int64_t kTokens = 20000;

std::string character(int64_t id) {
  const int64_t c = 0x4E00 + id;
  return {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
          static_cast<char>(0x80 | (c & 0x3F))};
}

std::string characters(int64_t begin, int64_t end) {
  std::string text;
  for (int64_t id = begin; id < end; ++id) text += character(id);
  return text;
}

// Character U+4E00 + i is token i; the template puts nothing around.
const Tokenizer& tokenizer() {
  static const auto instance = [] {
    std::string vocabulary;
    for (int64_t id = 0; id < kTokens; ++id) {
      vocabulary += (id > 0 ? ",\"" : "\"") + character(id) + "\":" + std::to_string(id);
    }
    return Tokenizer::create(R"({"model":{"type":"BPE","merges":[],"vocab":{)" + vocabulary + "}}}",
                             "")
        .value();
  }();
  return *instance;
}

CalibrationRequest request(const std::string& source, const std::string& recipe, int64_t samples,
                           int64_t length) {
  CalibrationRequest result;
  result.source = source;
  result.recipe = recipe;
  result.samples = samples;
  result.length = length;
  return result;
}

std::vector<int64_t> firsts(const TokenSet& set) {
  std::vector<int64_t> result;
  for (const auto& sequence : set.sequences) result.push_back(sequence.front());
  return result;
}

std::string refusal(const CalibrationRequest& request, int64_t vocab_size = kTokens) {
  const auto set = draw_calibration(request, &tokenizer(), vocab_size);
  return set.ok() ? "none" : std::string(set.status().message());
}

using Ids = std::vector<int64_t>;

TEST(TextCalibration, DrawsGptqWindowsWhereCPythonWould) {
  const std::string path = write_temporary("all.txt", characters(0, kTokens));
  const std::pair<int64_t, Ids> expected[] = {
      {0, {12623, 13781, 1326, 8484, 16753, 15922}},
      {1099511627781, {16527, 16938, 8801, 898, 17398, 1526}},
      {-3, {7797, 19419, 17833, 4273, 12122, 19789}}};
  for (const auto& [seed, places] : expected) {
    CalibrationRequest gptq = request(path, "gptq", 6, 2);
    gptq.seed = seed;
    const auto set = draw_calibration(gptq, &tokenizer(), kTokens);
    ASSERT_TRUE(set.ok()) << set.status();
    EXPECT_EQ(firsts(*set), places) << seed;
    EXPECT_EQ(set->sequences[0], (Ids{places[0], places[0] + 1}));
  }
}

TEST(TextCalibration, ShufflesAwqDocumentsAsCPythonWouldAndDropsLongOnes) {
  std::string lines;
  for (int64_t id = 0; id < 10; ++id) lines += R"({"text": " )" + character(id) + "\\n\"}\n\n";
  CalibrationRequest awq = request(write_temporary("ten.jsonl", lines), "awq", 10, 1);
  awq.seed = 42;
  EXPECT_EQ(firsts(*draw_calibration(awq, &tokenizer(), kTokens)),
            (Ids{7, 3, 2, 8, 5, 6, 9, 4, 0, 1}));
  awq.samples = 5;
  awq.length = 2;
  const auto cut = draw_calibration(awq, &tokenizer(), kTokens);
  EXPECT_EQ(cut->sequences,
            (std::vector<Ids>{{7, 3}, {2, 8}}));  // the fifth document fills no window
  const std::string long_one = R"({"text": ")" + characters(0, 9) + "\"}\n";
  EXPECT_EQ(refusal(request(write_temporary("long.jsonl", long_one), "awq", 4, 8)),
            write_temporary("long.jsonl", long_one) +
                ": 0 tokens in documents that are no longer than a window (the awq recipe drops "
                "longer ones), at least 8 "
                "are needed: give more text or a smaller length");
}

TEST(TextCalibration, SpreadsEvenWindowsFromTheFirstTokenToTheLast) {
  const std::string path = write_temporary("hundred.txt", characters(0, 100));
  const auto set = draw_calibration(request(path, "even", 4, 10), &tokenizer(), kTokens);
  EXPECT_EQ(firsts(*set), (Ids{0, 30, 60, 90}));
  EXPECT_EQ(
      draw_calibration(request(path, "even", 500, 30), &tokenizer(), kTokens)->sequences.size(),
      3u);
  EXPECT_EQ(firsts(*draw_calibration(request(path, "even", 1, 100), &tokenizer(), kTokens)),
            Ids{0});
}

TEST(TextCalibration, TakesWholeDocumentsOneByOne) {
  const std::string lines = R"({"text": ")" + characters(0, 5) +
                            "\"}\n{\"text\": \"\"}\r\n{\"text\": \"" + characters(7, 9) + "\"}";
  const auto set = draw_calibration(request(write_temporary("three.jsonl", lines), "whole", 9, 4),
                                    &tokenizer(), kTokens);
  EXPECT_EQ(set->sequences, (std::vector<Ids>{{0, 1, 2, 3}, {7, 8}}));
}

TEST(TextCalibration, TakesTokenIdsAsTheyAre) {
  const std::string path =
      write_temporary("ids.json", R"({"length": 3, "input_ids": [[5, 6, 7], [8], [9, 9]]})");
  const auto set = draw_calibration(request(path, "even", 2, 2), nullptr, 9);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->sequences, (std::vector<Ids>{{5, 6}, {8}}));
  EXPECT_EQ(refusal(request(path, "even", 3, 3), 9),
            path +
                ": sequence 2 has the token id 9 at 0, but the model knows 0 to 8: were the ids "
                "made with another tokenizer?");
}

TEST(TextCalibration, SaysWhatIsWrongWithASource) {
  const auto message = [](const std::string& name, const std::string& content, int64_t length = 4) {
    const std::string path = write_temporary(name, content);
    return refusal(request(path, "even", 4, length)).substr(path.size());
  };
  EXPECT_EQ(message("empty.txt", " \n"), ": the file is empty, expected text or token ids");
  EXPECT_EQ(message("short.txt", characters(0, 3)),
            ": 3 tokens, at least 4 are needed: give more text or a smaller length");
  EXPECT_EQ(message("bad.txt", "a\nb\nc\xFF"), ":3: byte 5 of the file is not valid UTF-8");
  EXPECT_EQ(message("bad.jsonl", "{\"text\": \"a\"}\n{\"text\": 3}\n"),
            ":2: \"text\" is a integer, expected {\"text\": \"…\"}, {\"messages\": […]} or "
            "{\"conversations\": […]}");
  EXPECT_EQ(message("worse.jsonl", "{\"text\": \"a\"}\n\n{\"text\n").substr(0, 41),
            ":3: this line:1:7: this is not valid JSON");
  EXPECT_EQ(message("none.json", "{}"), ": expected token ids as {\"input_ids\": [[1, 2, …], …]}");
  EXPECT_EQ(message("hole.json", "{\"input_ids\": [[1], []]}"),
            ": input_ids[1] is empty, expected a list of token ids");
  EXPECT_EQ(message("float.json", "{\"input_ids\": [[1, 2.5]]}"),
            ": input_ids[0][1] is a float, expected an integer");
  EXPECT_EQ(refusal(request("no/such.txt", "even", 1, 1)),
            "no/such.txt: cannot be read (No such file or directory)");
  EXPECT_EQ(refusal(request("x", "even", 0, 1)),
            "calibration: samples = 0 and length = 1, both must be at least 1");
  const std::string text = write_temporary("text.txt", characters(0, 9));
  EXPECT_EQ(refusal(request(text, "random", 1, 1)),
            "the calibration recipe \"random\" is not known, expected even, gptq, awq or whole");
  EXPECT_EQ(draw_calibration(request(text, "even", 1, 1), nullptr, 9).status().message(),
            text +
                ": the model has no tokenizer.json, so calibration must be token ids as "
                "{\"input_ids\": [[…]]}");
}

// Roles become tokens 1 (user), 2 (assistant) and 3 (others); an empty message is refused.
absl::StatusOr<ChatTemplate> chat_template() {
  return ChatTemplate::parse(
      "{% for m in messages %}{% if not m.content %}{{ raise_exception('nothing said') }}{% endif "
      "%}"
      "{{ {'user': '" +
      character(1) + "', 'assistant': '" + character(2) + "'}.get(m.role, '" + character(3) +
      "') }}{{ m.content }}{% endfor %}{% if tools %}{{ tools[0].name }}{% endif %}");
}

std::string message(const std::string& role, int64_t id) {
  return R"({"role": ")" + role + R"(", "content": ")" + character(id) + "\"}";
}

std::string turn(const std::string& from, int64_t id) {
  return R"({"from": ")" + from + R"(", "value": ")" + character(id) + "\"}";
}

// Puts token 9 in front of what is encoded with special tokens.
const Tokenizer& tokenizer_with_bos() {
  static const auto instance = [] {
    std::string vocabulary;
    for (int64_t id = 0; id < 100; ++id)
      vocabulary += (id > 0 ? ",\"" : "\"") + character(id) + "\":" + std::to_string(id);
    return Tokenizer::create(
               R"({"model":{"type":"BPE","merges":[],"vocab":{)" + vocabulary +
                   R"(}},"post_processor":{"type":"TemplateProcessing","special_tokens":{"b":{"ids":[9]}},)"
                   R"("single":[{"SpecialToken":{"id":"b"}},{"Sequence":{"id":"A"}}]}})",
               "")
        .value();
  }();
  return *instance;
}

absl::StatusOr<TokenSet> draw_chats(const std::string& lines, const std::string& recipe,
                                    int64_t length,
                                    const absl::StatusOr<ChatTemplate>& chat = chat_template()) {
  return draw_calibration(request(write_temporary("chats.jsonl", lines), recipe, 9, length),
                          &tokenizer_with_bos(), kTokens, chat);
}

TEST(TextCalibration, RendersChatsAndAddsNoSpecialTokens) {
  const std::string lines = R"({"messages": [)" + message("user", 20) + ", " +
                            message("assistant", 21) + "]}\n" + R"({"conversations": [)" +
                            turn("system", 30) + ", " + turn("human", 31) + ", " + turn("gpt", 32) +
                            ", " + turn("observation", 33) + R"(], "id": 7})" + "\n" +
                            R"({"messages": [)" + message("user", 40) +
                            R"(], "tools": [{"name": ")" + character(41) + "\"}]}";
  const auto whole = draw_chats(lines, "whole", 8);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->sequences,
            (std::vector<Ids>{{1, 20, 2, 21}, {3, 30, 1, 31, 2, 32, 3, 33}, {1, 40, 41}}));
  const auto even = draw_chats(lines, "even", 15);
  ASSERT_TRUE(even.ok()) << even.status();
  EXPECT_EQ(even->sequences,
            (std::vector<Ids>{{1, 20, 2, 21, 3, 30, 1, 31, 2, 32, 3, 33, 1, 40, 41}}));
  const auto awq = draw_chats(lines, "awq", 4);
  ASSERT_TRUE(awq.ok()) << awq.status();
  EXPECT_EQ(awq->sequences.size(), 1u);  // the second chat is longer than a window
  const auto texts = draw_chats(R"({"text": ")" + character(5) + "\"}", "whole", 4);
  EXPECT_EQ(texts->sequences, (std::vector<Ids>{{9, 5}}));
}

TEST(TextCalibration, SaysWhatIsWrongWithAChat) {
  const auto message_of = [](const std::string& lines,
                             const absl::StatusOr<ChatTemplate>& chat = chat_template()) {
    const auto set = draw_chats(lines, "whole", 4, chat);
    const std::string text = set.ok() ? "none" : std::string(set.status().message());
    return text.substr(std::min(text.size(), text.find(".jsonl") + 6));
  };
  const std::string text = R"({"text": "a"})",
                    chat = R"({"messages": [)" + message("user", 20) + "]}";
  EXPECT_EQ(message_of(text + "\n\n" + chat), ":3: a chat in a file of texts; keep them apart");
  EXPECT_EQ(message_of(chat + "\n" + text), ":2: a text in a file of chats; keep them apart");
  EXPECT_EQ(message_of(R"({"messages": []})"),
            ":1: \"messages\": expected a list of messages that is not empty");
  EXPECT_EQ(message_of(R"({"messages": "a"})"),
            ":1: \"messages\": expected a list of messages that is not empty");
  EXPECT_EQ(message_of(R"({"conversations": [{"from": "human"}]})"),
            ":1: conversations[0]: expected {\"from\": \"…\", \"value\": \"…\"}");
  EXPECT_EQ(message_of(R"({"conversations": [)" + turn("parrot", 20) + "]}"),
            ":1: conversations[0]: \"from\" is \"parrot\", expected system, human, user, gpt, "
            "chatgpt, assistant, model, tool, observation or function_response");
  EXPECT_EQ(
      message_of(chat + "\n" + R"({"messages": [{"role": "user", "content": ""}]})").substr(0, 4),
      ":2: ");
  EXPECT_EQ(message_of(chat, absl::NotFoundError("M: no chat template")),
            ":1: M: no chat template");
  WindowRequest windows;
  windows.source = write_temporary("chats.jsonl", chat);
  EXPECT_EQ(cut_windows(windows, tokenizer()).status().message(),
            windows.source + ":1: evaluations read no chats, only texts and token ids");
}

TEST(TextCalibration, TakesTheIdsThatTheSmolLM2FiguresWereMadeWith) {
  const char* data = std::getenv("SWAGE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "SWAGE_TEST_DATA is not set";
  const std::string path = std::string(data) + "/../fixtures/smollm2/calibration-ids.json";
  const auto set = draw_calibration(request(path, "even", 128, 2048), nullptr, 49152);
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->sequences.size(), 32u);
  for (const auto& sequence : set->sequences) EXPECT_EQ(sequence.size(), 512u);
  EXPECT_EQ(set->sequences[0][1], 3717);
}

TEST(TextWindows, AreCutByLengthStrideEveryAndCount) {
  WindowRequest windows;
  windows.source = write_temporary("hundred.txt", characters(0, 100));
  windows.length = 30;
  EXPECT_EQ(firsts(*cut_windows(windows, tokenizer())), (Ids{0, 30, 60}));
  windows.stride = 10;
  windows.every = 3;
  EXPECT_EQ(firsts(*cut_windows(windows, tokenizer())), (Ids{0, 30, 60}));
  windows.windows = 2;
  EXPECT_EQ(cut_windows(windows, tokenizer())->sequences.size(), 2u);
  windows.length = 101;
  EXPECT_EQ(
      cut_windows(windows, tokenizer()).status().message(),
      windows.source + ": 100 tokens, at least 101 are needed: give more text or a smaller length");
  windows.every = 0;
  EXPECT_EQ(cut_windows(windows, tokenizer()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TextWindows, ComeFromTheParametersOfAnEvaluator) {
  const WindowRequest windows = window_request(
      Params({{"source", "a.txt"}, {"length", 512}, {"every", 10}, {"windows", Value()}}));
  EXPECT_EQ(windows.source, "a.txt");
  EXPECT_EQ(windows.length, 512);
  EXPECT_EQ(windows.stride, 0);
  EXPECT_EQ(windows.every, 10);
  EXPECT_EQ(windows.windows, 0);
  EXPECT_FALSE(windows.special_tokens);
}

}  // namespace
}  // namespace swage::text
