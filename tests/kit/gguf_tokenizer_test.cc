// Tokenizers as keys of GGUF and back: the same ids.
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "swage/io/gguf.h"
#include "swage/io/gguf_header.h"
#include "swage/io/safetensors_header.h"
#include "swage/text/tokenizer.h"
#include "tests/kit/text_files.h"

namespace swage::io {
namespace {

using testing_text::mixed_text;
using testing_text::read_json;
using testing_text::read_text;
using testing_text::test_data;

constexpr int64_t kWidth = 8;

std::map<std::string, Value> by_name(const std::vector<GgufKey>& keys) {
  std::map<std::string, Value> result;
  for (const GgufKey& key : keys) result[key.name] = key.value;
  return result;
}

// A file of one block with these keys; the files that are made of its metadata.
std::map<std::string, std::string> written_and_read(std::vector<GgufKey> keys) {
  const int64_t words = static_cast<int64_t>(by_name(keys)["tokenizer.ggml.tokens"].list()->size());
  keys.push_back({"general.architecture", GgufType::kText, "llama", GgufType::kU32});
  for (const auto& [name, value] :
       {std::pair("block_count", int64_t{1}), std::pair("context_length", int64_t{64}),
        std::pair("embedding_length", kWidth), std::pair("feed_forward_length", kWidth),
        std::pair("attention.head_count", int64_t{1})}) {
    keys.push_back({std::string("llama.") + name, GgufType::kU32, value, GgufType::kU32});
  }
  keys.push_back({"llama.attention.layer_norm_rms_epsilon", GgufType::kF32, 1e-5, GgufType::kU32});
  GgufEntry table;
  table.name = "token_embd.weight";
  table.shape = {words, kWidth};
  table.type = kGgufF32;
  table.write = [words](const auto& put) { return put(at::zeros({words, kWidth}, at::kFloat)); };
  const std::string path = ::testing::TempDir() + "/tokenizer.gguf";
  const absl::Status status = write_gguf(path, keys, {table});
  EXPECT_TRUE(status.ok()) << status;
  const auto checkpoint = open_gguf(path);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::map<std::string, std::string> files;
  const auto read = (*checkpoint)->side_files();
  EXPECT_TRUE(read.ok()) << read.status();
  if (read.ok()) files.insert(read->begin(), read->end());
  return files;
}

void expect_same_ids(const text::Tokenizer& before, const std::map<std::string, std::string>& files,
                     const std::string& text) {
  ASSERT_EQ(files.count("tokenizer.json"), 1u);
  const auto after =
      text::Tokenizer::create(files.at("tokenizer.json"), files.at("tokenizer_config.json"));
  ASSERT_TRUE(after.ok()) << after.status();
  for (const bool special : {false, true})
    EXPECT_EQ((*after)->encode(text, special).value(), before.encode(text, special).value());
}

Value byte_level() {
  Value tokenizer = read_json(test_data("bytes/tokenizer.json"));
  Value::Table& model = *(*tokenizer.table())["model"].table();
  Value::Table& vocabulary = *model["vocab"].table();
  Value::List merges;
  for (const char* pair : {"t h", "th e", "1 2", "\u0120 \u0120", "i n"}) {
    const std::string both = pair;
    const size_t space = both.find(' ');
    merges.push_back(both);
    vocabulary[both.substr(0, space) + both.substr(space + 1)] =
        static_cast<int64_t>(vocabulary.size());
  }
  model["merges"] = std::move(merges);
  return tokenizer;
}

Value cut(const std::vector<std::string>& patterns, bool digits) {
  Value::List parts;
  if (digits) parts.push_back(Value::Table{{"type", "Digits"}, {"individual_digits", true}});
  for (const std::string& pattern : patterns) {
    parts.push_back(Value::Table{{"type", "Split"},
                                 {"pattern", Value::Table{{"Regex", pattern}}},
                                 {"behavior", "Isolated"},
                                 {"invert", false}});
  }
  parts.push_back(Value::Table{{"type", "ByteLevel"},
                               {"add_prefix_space", false},
                               {"trim_offsets", true},
                               {"use_regex", patterns.empty()}});
  return Value::Table{{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

TEST(GgufTokenizer, ByteLevelVocabulariesKeepTheirIds) {
  const std::string words = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)"
                            R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  std::string single = words;
  single.replace(single.find("{1,3}"), 5, "");
  struct Case {
    const char* name;
    const char* family;
    Value pre;
    bool whole_words;
  };
  const Case cases[] = {{"gpt-2", "llama", cut({}, false), false},
                        {"smollm", "llama", cut({}, true), false},
                        {"starcoder", "starcoder2", cut({}, true), false},
                        {"command-r", "cohere", cut({}, true), false},
                        {"llama-bpe", "llama", cut({words}, false), true},
                        {"smaug-bpe", "llama", cut({words}, false), false},
                        {"glm4", "glm4", cut({words}, false), false},
                        {"qwen2", "qwen3", cut({single}, false), false}};
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    Value tokenizer = byte_level();
    (*tokenizer.table())["pre_tokenizer"] = one.pre;
    (*(*tokenizer.table())["model"].table())["ignore_merges"] = one.whole_words;
    (*tokenizer.table())["added_tokens"] =
        Value::List{Value::Table{{"id", 261}, {"content", "<end>"}, {"special", true}},
                    Value::Table{{"id", 262}, {"content", "<tool>"}, {"special", false}}};
    const SideFiles files = {
        {"tokenizer.json", to_json(tokenizer)},
        {"tokenizer_config.json", R"({"eos_token": "<end>", "chat_template": "{{ x }}"})"}};
    const Value config(Value::Table{{"model_type", one.family}, {"vocab_size", 265}});
    const auto keys = gguf_tokenizer(config, files);
    ASSERT_TRUE(keys.ok()) << keys.status();
    auto found = by_name(*keys);
    EXPECT_EQ(*found["tokenizer.ggml.pre"].text(), one.name);
    EXPECT_EQ(*found["tokenizer.ggml.eos_token_id"].integer(), 261);
    EXPECT_EQ(*found["tokenizer.chat_template"].text(), "{{ x }}");
    const Value::List& types = *found["tokenizer.ggml.token_type"].list();
    ASSERT_EQ(types.size(), 265u);
    EXPECT_EQ(types[261], Value(3));
    EXPECT_EQ(types[262], Value(4));
    EXPECT_EQ(types[264], Value(5));
    const auto before = text::Tokenizer::create(files[0].second, files[1].second);
    ASSERT_TRUE(before.ok()) << before.status();
    expect_same_ids(**before, written_and_read(*keys),
                    "the 1234 things<end> in the<tool> " + mixed_text(2000));
  }
}

TEST(GgufTokenizer, RefusesWhatLlamaCppDoesNotCut) {
  Value tokenizer = byte_level();
  (*tokenizer.table())["pre_tokenizer"] = cut({"[a-z]+"}, false);
  const Value config(Value::Table{{"vocab_size", 265}});
  EXPECT_EQ(
      gguf_tokenizer(config, {{"tokenizer.json", to_json(tokenizer)}}).status().message(),
      "tokenizer.json: its pre-tokenizer (\"[a-z]+\") is none that llama.cpp is known to have");
  const Value small(Value::Table{{"vocab_size", 100}});
  EXPECT_NE(
      std::string(
          gguf_tokenizer(small, {{"tokenizer.json", to_json(byte_level())}}).status().message())
          .find("config.json a vocab_size of 100"),
      std::string::npos);
  EXPECT_EQ(*by_name(*gguf_tokenizer(small, {}))["tokenizer.ggml.model"].text(), "none");
}

TEST(GgufTokenizer, SentencePiecesKeepTheirIds) {
  for (const auto& [name, ends] :
       {std::pair(
            "llama",
            R"({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>"})"),
        std::pair(
            "gemma",
            R"({"tokenizer_class": "GemmaTokenizer", "bos_token": "<s>", "eos_token": "</s>"})")}) {
    SCOPED_TRACE(name);
    const std::string file =
        read_text(test_data(std::string("text/sentencepiece/") + name + ".model"));
    const SideFiles files = {{"tokenizer.model", file}, {"tokenizer_config.json", ends}};
    const auto keys = gguf_tokenizer(Value(Value::Table()), files);
    ASSERT_TRUE(keys.ok()) << keys.status();
    EXPECT_EQ(*by_name(*keys)["tokenizer.ggml.model"].text(), "llama");
    const auto before = text::Tokenizer::create_from_sentencepiece(file, ends);
    ASSERT_TRUE(before.ok()) << before.status();
    expect_same_ids(**before, written_and_read(*keys), "Hello world,  it is 12 of them.");
  }
}

TEST(GgufTokenizer, SmolLM2IsWhatLlamaCppsConverterMakes) {
  const char* const folder = std::getenv("SWAGE_TEST_MODEL");
  const std::string path =
      std::string(folder != nullptr ? folder : "") + "/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no SmolLM2";
  const std::string root(folder);
  const auto config = parse_json(read_file(root + "/config.json").value(), "config.json");
  SideFiles files;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
    files.emplace_back(name, read_file(root + "/" + name).value());
  const auto keys = gguf_tokenizer(*config, files);
  ASSERT_TRUE(keys.ok()) << keys.status();
  const GgufFile file = read_gguf(path).value();
  for (const GgufKey& key : *keys) {
    if (!file.metadata.has(key.name)) continue;
    EXPECT_TRUE(file.metadata[key.name] == key.value) << key.name;
  }
}

}  // namespace
}  // namespace swage::io
