// Ids equal to those of the PyPI package `tokenizers` 0.23; kit/text/make_token_goldens.py makes
// the files compared with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "swage/text/tokenizer.h"
#include "tests/kit/text_files.h"

namespace swage::text {
namespace {

using ::testing::HasSubstr;
using testing_text::digest;
using testing_text::integers;
using testing_text::mixed_text;
using testing_text::read_json;
using testing_text::read_text;
using testing_text::test_data;

// tokenizer.json of a case: its base with the case's components and members of the model put in.
std::string case_json(const Value& cases, const Value& item) {
  Value file = cases["bases"][item.str("base", "")];
  for (const auto& [key, value] : *item["override"].table()) (*file.table())[key] = value;
  for (const auto& [key, value] : *item["model"].table())
    (*(*file.table())["model"].table())[key] = value;
  return to_json(file, -1);
}

TEST(TextTokenizer, GivesTheIdsOfTheTokenizersPackageForEveryComponent) {
  const Value cases = read_json(test_data("text/cases.json"));
  const std::string mixed = mixed_text(1 << 20);
  ASSERT_GT(cases["cases"].list()->size(), 40u);
  for (const Value& item : *cases["cases"].list()) {
    SCOPED_TRACE(item.str("name", ""));
    const auto tokenizer = Tokenizer::create(case_json(cases, item), "");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    for (size_t i = 0; i < cases["texts"].list()->size(); ++i) {
      const std::string& text = *(*cases["texts"].list())[i].text();
      const auto ids = (*tokenizer)->encode(text, true);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(*ids, integers((*item["ids"].list())[i])) << text;
      EXPECT_EQ((*tokenizer)->decode(*ids, true), *(*item["decoded"].list())[i].text()) << text;
    }
    const auto ids = (*tokenizer)->encode(mixed, false);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(static_cast<int64_t>(ids->size()), item["mixed"].i64("count", 0));
    EXPECT_EQ(digest(*ids), item["mixed"].str("fnv1a", ""));
  }
}

TEST(TextTokenizer, GivesTheIdsOfTheTokenizersPackageForSmolLM2) {
  const char* model = std::getenv("SWAGE_TEST_MODEL");
  const char* data = std::getenv("SWAGE_TEST_DATA");
  if (model == nullptr || data == nullptr)
    GTEST_SKIP() << "SWAGE_TEST_MODEL and SWAGE_TEST_DATA are not set";
  const std::string folder = model;
  const auto tokenizer = Tokenizer::create(read_text(folder + "/tokenizer.json"),
                                           read_text(folder + "/tokenizer_config.json"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 49152);
  EXPECT_EQ((*tokenizer)->id("<|im_end|>"), 2);
  const Value golden = read_json(test_data("text/smollm2.json"));
  const std::pair<const char*, std::string> texts[] = {
      {"wikitext", read_text(std::string(data) + "/wikitext-2/wiki.test.tokens")},
      {"mixed", mixed_text(1 << 20)}};
  for (const auto& [name, text] : texts) {
    SCOPED_TRACE(name);
    const auto ids = (*tokenizer)->encode(text, true);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(static_cast<int64_t>(ids->size()), golden[name].i64("count", 0));
    EXPECT_EQ(digest(*ids), golden[name].str("fnv1a", ""));
    EXPECT_EQ(std::vector<int64_t>(ids->begin(), ids->begin() + 16),
              integers(golden[name]["first"]));
    // The mixed text has control characters that this vocabulary lacks, and that are dropped.
    const bool decoded = (*tokenizer)->decode(*ids, false) == text;
    EXPECT_EQ(decoded, name == std::string("wikitext"));
  }
}

// Refusals: the text of a small tokenizer with one part replaced.
std::string refusal(const std::string& part, const std::string& replacement,
                    const std::string& config = "") {
  std::string file =
      R"({"added_tokens":[{"id":3,"content":"<s>"}],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel"},)"
      R"("post_processor":null,"decoder":null,"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})";
  if (!part.empty()) {
    const size_t at = file.find(part);
    EXPECT_NE(at, std::string::npos) << part;
    file.replace(at, part.size(), replacement);
  }
  const auto tokenizer = Tokenizer::create(file, config);
  return tokenizer.ok() ? "none" : std::string(tokenizer.status().message());
}

TEST(TextTokenizer, NamesTheComponentThatItRefuses) {
  EXPECT_EQ(refusal("", ""), "none");
  EXPECT_EQ(refusal("{\"type\":\"ByteLevel\"}", "{\"type\":\"UnicodeScripts\"}"),
            "tokenizer.json: pre_tokenizer: \"UnicodeScripts\" is not supported");
  EXPECT_EQ(
      refusal("{\"type\":\"ByteLevel\"}", "{\"type\":\"Digits\",\"individual_digits\":\"yes\"}"),
      "tokenizer.json: pre_tokenizer: Digits: \"individual_digits\" is a string, expected true or "
      "false");
  EXPECT_EQ(refusal("\"normalizer\":null", "\"normalizer\":{\"type\":\"Precompiled\"}"),
            "tokenizer.json: normalizer: \"Precompiled\" is not supported");
  EXPECT_EQ(refusal("\"decoder\":null", "\"decoder\":{\"type\":\"CTC\"}"),
            "tokenizer.json: decoder: \"CTC\" is not supported");
  EXPECT_EQ(
      refusal("\"post_processor\":null",
              "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}"),
      "tokenizer.json: post_processor: TemplateProcessing: \"single\" does not hold the text");
  EXPECT_EQ(refusal("BPE", "Unigram"),
            "tokenizer.json: model: \"Unigram\" is not supported, expected BPE");
}

TEST(TextTokenizer, RefusesVocabulariesThatContradictThemselves) {
  EXPECT_EQ(refusal("\"a b\"", "\"a c\""),
            "tokenizer.json: model: merges: entry 0: token \"c\" is not in the vocabulary");
  EXPECT_EQ(
      refusal("\"a b\"", "\"ab\""),
      "tokenizer.json: model: merges: entry 0 is neither \"left right\" nor [\"left\", \"right\"]");
  EXPECT_EQ(refusal("\"b\":1", "\"b\":0"),
            "tokenizer.json: model: vocab: tokens \"a\" and \"b\" have the same id 0");
  EXPECT_EQ(
      refusal("\"b\":1", "\"b\":99999999"),
      "tokenizer.json: model: vocab: token \"b\" has the id 99999999, expected 0 to 16777215");
  EXPECT_EQ(refusal("\"b\":1", "\"b\":1.5"),
            "tokenizer.json: model: vocab: the id of \"b\" is a float, expected an integer");
  EXPECT_EQ(refusal("\"type\":\"BPE\"", "\"type\":\"BPE\",\"dropout\":0.1"),
            "tokenizer.json: model: \"dropout\" makes ids random, expected null");
  EXPECT_EQ(refusal("\"id\":3", "\"id\":-7"),
            "tokenizer.json: added_tokens: token \"<s>\" has the id -7, expected 0 to 16777215");
}

TEST(TextTokenizer, RefusesRegularExpressionsThatWouldReadDifferently) {
  const auto split = [](const std::string& pattern) {
    return refusal("{\"type\":\"ByteLevel\"}",
                   "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"" +
                       pattern + "\"}}");
  };
  const std::string where = "tokenizer.json: pre_tokenizer: Split: the regular expression ";
  for (const std::string pattern : {"[a[^b]]", "[a[:alpha:]]", "[a-[bc]]"}) {
    EXPECT_EQ(split(pattern), where + pattern + " uses this class within a class at byte " +
                                  std::to_string(pattern.find('[', 1)) +
                                  ", which is not supported");
  }
  EXPECT_EQ(split("[[ab]-z]"),
            where + "[[ab]-z] uses a range from a class at byte 5, which is not supported");
  EXPECT_EQ(split("[a&&b]"),
            where + "[a&&b] uses an intersection of classes at byte 2, which is not supported");
  EXPECT_EQ(split("a{1,3}+"), where + "a{1,3}+ uses }+ at byte 5, which is not supported");
  EXPECT_EQ(split("\\\\h"), where + "\\h uses \\h at byte 0, which is not supported");
  EXPECT_EQ(split("(a"), where + "(a: missing closing parenthesis");
}

TEST(TextTokenizer, StopsARegularExpressionThatBacktracksWithoutEnd) {
  const auto tokenizer = Tokenizer::create(
      R"({"pre_tokenizer":{"type":"Split","behavior":"Isolated","pattern":{"Regex":"(a+)+$"}},)"
      R"("model":{"type":"BPE","vocab":{"a":0},"merges":[]}})",
      "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)->encode(std::string(64, 'a') + "b", false);
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.status().message(),
            "the tokenizer's regular expression (a+)+$ takes too many steps on this text from its "
            "byte 0 on (match limit exceeded); is this tokenizer.json what the model came with?");
}

TEST(TextTokenizer, SaysWhatAFileIsInsteadOfATokenizer) {
  const auto message = [](const std::string& file) {
    return std::string(Tokenizer::create(file, "").status().message());
  };
  EXPECT_THAT(message("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n"),
              HasSubstr("is a pointer of Git LFS"));
  EXPECT_THAT(message("<!DOCTYPE html><html>"), HasSubstr("is a page in HTML or XML"));
  EXPECT_THAT(message(" \n"), HasSubstr("is empty"));
  EXPECT_THAT(message("{\"model\": x}"), HasSubstr("tokenizer.json:1:11: this is not valid JSON"));
  EXPECT_THAT(message("{\"model\": {"), HasSubstr("it ends too early"));
  EXPECT_THAT(message("{\"a\": \"x\ny\"}"), HasSubstr("a control character"));
  EXPECT_THAT(message(R"({"normalizer": 5})"),
              HasSubstr("normalizer: is an integer, expected a table with \"type\""));
  EXPECT_THAT(message(R"({"normalizer": {}})"),
              HasSubstr("\"type\" is missing, expected a string that is not empty"));
  const std::string pattern = "(" + std::string(9000, 'a');
  EXPECT_LT(
      message(R"({"pre_tokenizer":{"type":"Split","behavior":"Isolated","pattern":{"Regex":")" +
              pattern + R"("}},"model":{"type":"BPE","vocab":{"a":0},"merges":[]}})")
          .size(),
      400u);
}

TEST(TextTokenizer, NamesTheByteThatIsNoUtf8) {
  const auto tokenizer =
      Tokenizer::create(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]}})", "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const std::string bad :
       {"\xFF", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"}) {
    const auto ids = (*tokenizer)->encode("aa" + bad, false);
    ASSERT_FALSE(ids.ok());
    EXPECT_EQ(ids.status().message().substr(0, 41), "the text is not valid UTF-8: byte 2 is 0x");
  }
}

TEST(TextTokenizer, TakesBosAndMissingTokensFromTheConfiguration) {
  const std::string file =
      R"({"added_tokens":[],"model":{"type":"BPE","vocab":{"a":0,"<s>":1},"merges":[]}})";
  const auto tokenizer = Tokenizer::create(
      file,
      R"({"tokenizer_class":"LlamaTokenizerFast","bos_token":"<s>","eos_token":{"content":"</s>"},)"
      R"("add_eos_token":true,"added_tokens_decoder":{"7":{"content":"<x>","special":true}}})");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->id("<x>"), 2) << "the next free id, whatever the key says";
  EXPECT_EQ((*tokenizer)->id("</s>"), 3);
  EXPECT_EQ((*tokenizer)->id("nothing"), -1);
  EXPECT_EQ((*tokenizer)->encode("a<x>a", true).value(), (std::vector<int64_t>{1, 0, 2, 0, 3}));
  EXPECT_EQ((*tokenizer)->encode("a<s>", false).value(), (std::vector<int64_t>{0, 1}));
  const auto plain =
      Tokenizer::create(file, R"({"tokenizer_class":"GPT2Tokenizer","bos_token":"<s>"})");
  EXPECT_EQ((*plain)->encode("a", true).value(), std::vector<int64_t>{0});
  const auto none = Tokenizer::create(file, R"({"tokenizer_class":"LlamaTokenizer"})");
  EXPECT_EQ(none.status().message(),
            "tokenizer.json: add_bos_token asks for bos_token, which is not set");
}

// Ids of the tokens in `added` behind the vocabulary {"a": 0, "b": 1, "c": `third`}.
std::vector<int64_t> ids_of(const std::string& added, const std::string& text,
                            const std::string& config = "", int third = 2) {
  const std::string file =
      absl::StrCat(R"({"added_tokens":[)", added, R"(],"model":{"type":"BPE","merges":[],)",
                   R"("vocab":{"a":0,"b":1,"c":)", third, "}}}");
  const auto tokenizer = Tokenizer::create(file, config);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? (*tokenizer)->encode(text, false).value() : std::vector<int64_t>{};
}

// Expected ids are those of the package tokenizers 0.23.3, of transformers 5.23 where there is a
// tokenizer_config.json.
TEST(TextTokenizer, GivesAddedTokensTheIdsOfThePackageWhateverFilesState) {
  using Ids = std::vector<int64_t>;
  const std::string x5 = R"({"id":5,"content":"<x>"})", y4 = R"({"id":4,"content":"<y>"})";
  EXPECT_EQ(ids_of(x5, "a<x>b"), (Ids{0, 3, 1})) << "a gap behind the vocabulary";
  EXPECT_EQ(ids_of(x5 + "," + y4, "<x><y>"), (Ids{3, 4})) << "the order of the file";
  EXPECT_EQ(ids_of(R"({"id":3,"content":"<x>"},)" + x5 + "," + y4, "<x><y>"), (Ids{3, 4}))
      << "a content twice";
  EXPECT_EQ(ids_of(R"({"id":1,"content":"<x>"})", "b<x>"), (Ids{1, 3})) << "an id that is taken";
  EXPECT_EQ(ids_of(R"({"id":3,"content":"<x>"},{"id":3,"content":"<y>"})", "<x><y>"), (Ids{3, 4}));
  EXPECT_EQ(ids_of(R"({"id":7,"content":"b"},)" + x5, "ab<x>"), (Ids{0, 1, 3}))
      << "a token of the vocabulary keeps its id";
  EXPECT_EQ(ids_of(x5, "ac<x>", "", 5), (Ids{0, 5, 3})) << "a hole in the vocabulary";
  EXPECT_EQ(ids_of(x5, "<x><y><z>",
                   R"({"added_tokens_decoder":{"10":{"content":"<y>"},"9":{"content":"<z>"},)"
                   R"("77":{"content":"<x>"}}})"),
            (Ids{3, 5, 4}))
      << "tokenizer_config.json adds in the order of its ids, which count for nothing else";
}

TEST(TextTokenizer, TakesTheLastFlagsOfAnAddedTokenThatStandsTwice) {
  const std::string plain = R"({"id":3,"content":"<x>","normalized":false})";
  const std::string alone = R"({"id":3,"content":"<x>","normalized":false,"single_word":true})";
  using Ids = std::vector<int64_t>;
  EXPECT_EQ(ids_of(plain + "," + alone, "a<x>b"), (Ids{0, 1}));
  EXPECT_EQ(ids_of(alone + "," + plain, "a<x>b"), (Ids{0, 3, 1}));
  EXPECT_EQ(ids_of(plain, "a<x>b",
                   R"({"added_tokens_decoder":{"3":{"content":"<x>","single_word":true}}})"),
            (Ids{0, 1}));
}

}  // namespace
}  // namespace swage::text
