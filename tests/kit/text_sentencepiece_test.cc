// tokenizer.model files: ids equal to those of transformers' fast tokenizers, or of the library
// itself; kit/text/make_sentencepiece_goldens.py makes the files.
#include <gtest/gtest.h>

#include "swage/text/tokenizer.h"
#include "tests/kit/text_files.h"

namespace swage::text {
namespace {

using testing_text::integers;
using testing_text::read_json;
using testing_text::read_text;
using testing_text::test_data;

std::string model_file(const std::string& name) {
  return read_text(test_data("text/sentencepiece/" + name + ".model"));
}

TEST(TextSentencePiece, GivesTheIdsOfConvertedTokenizers) {
  const Value texts = read_json(test_data("text/families.json"))["texts"];
  const Value cases = read_json(test_data("text/sentencepiece/expected.json"));
  ASSERT_EQ(cases.list()->size(), 4u);
  for (const Value& item : *cases.list()) {
    SCOPED_TRACE(item.str("name", ""));
    const auto tokenizer = Tokenizer::create_from_sentencepiece(model_file(item.str("model", "")),
                                                                to_json(item["config"]));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const Value::List& inputs = *(item.has("texts") ? item["texts"] : texts).list();
    ASSERT_EQ(inputs.size(), item["ids"].list()->size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto ids = (*tokenizer)->encode(*inputs[i].text(), true);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(*ids, integers((*item["ids"].list())[i])) << *inputs[i].text();
    }
  }
}

TEST(TextSentencePiece, ReadsBackWhatItEncoded) {
  const auto tokenizer = Tokenizer::create_from_sentencepiece(model_file("llama"), "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string text = "  They're 12345 of 'em:\n\t你好 🙂 e\u0301";
  const auto ids = (*tokenizer)->encode(text, true);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->front(), (*tokenizer)->id("<s>"));
  EXPECT_EQ((*tokenizer)->decode(*ids, true), text);
}

std::string refusal(const std::string& model, const std::string& config = "") {
  const auto tokenizer = Tokenizer::create_from_sentencepiece(model, config);
  return tokenizer.ok() ? "none" : std::string(tokenizer.status().message());
}

TEST(TextSentencePiece, RefusesEveryTruncation) {
  const std::string whole = model_file("llama");
  ASSERT_EQ(refusal(whole), "none");
  for (size_t size = 0; size < whole.size(); size += 97) {
    const std::string text = refusal(whole.substr(0, size));
    // A file cut between two fields lacks the trainer's word that this is BPE.
    EXPECT_EQ(text.substr(0, 17), "tokenizer.model: ") << size;
  }
}

TEST(TextSentencePiece, NamesTheWayOutForWhatItDoesNotRead) {
  // pieces {"<unk>", type 2}, trainer_spec {model_type}, normalizer_spec {name, table}
  const std::string piece = std::string("\x0A\x09\x0A\x05<unk>\x18\x02", 11);
  const std::string bpe = std::string("\x12\x02\x18\x02", 4),
                    unigram = std::string("\x12\x02\x18\x01", 4);
  const std::string way_out =
      "; save the tokenizer as tokenizer.json "
      "(AutoTokenizer.from_pretrained(…).save_pretrained(…))";
  EXPECT_EQ(refusal(piece + bpe), "none");
  EXPECT_EQ(refusal(piece + unigram),
            "tokenizer.model: the model is unigram, expected BPE" + way_out);
  EXPECT_EQ(refusal(piece + bpe +
                    "\x1A\x0B\x0A\x06"
                    "my_nfk\x12\x01t"),
            "tokenizer.model: the normalization \"my_nfk\" is not read" + way_out);
  EXPECT_EQ(refusal(bpe), "tokenizer.model: the file holds no pieces");
  EXPECT_EQ(refusal(piece + piece + bpe),
            "tokenizer.model: the piece \"<unk>\" stands there twice");
  EXPECT_EQ(refusal("\x0A\x03\x0A\x01\xFF"),
            "tokenizer.model: piece 0 is empty, longer than 512 bytes, no UTF-8, or has no score "
            "or no known type");
  EXPECT_EQ(refusal("version https"),
            "tokenizer.model: no protobuf message: it breaks at byte 0 of 13");
  EXPECT_EQ(refusal(piece + bpe, "[]"),
            "tokenizer_config.json: the file is a list, expected an object");
}

}  // namespace
}  // namespace swage::text
