// The tokenizers of model families: ids and texts equal to those of the PyPI package `tokenizers`
// 0.23, special tokens to those of transformers; kit/text/make_family_goldens.py makes the file
// compared with.
#include <gtest/gtest.h>

#include "swage/text/tokenizer.h"
#include "tests/kit/text_files.h"

namespace swage::text {
namespace {

using testing_text::digest;
using testing_text::integers;
using testing_text::mixed_text;
using testing_text::read_json;
using testing_text::test_data;

const Value& golden() {
  static const Value value = read_json(test_data("text/families.json"));
  return value;
}

const Value::List& texts() { return *golden()["texts"].list(); }

// tokenizer.json of a family: its base with the family's components, members of the model and
// further tokens.
std::string family_json(const Value& family) {
  static const Value bases = read_json(test_data("text/cases.json"))["bases"];
  Value file = bases[family.str("base", "")];
  for (const auto& [key, value] : *family["override"].table()) (*file.table())[key] = value;
  Value::Table& model = *(*file.table())["model"].table();
  for (const auto& [key, value] : *family["model"].table()) model[key] = value;
  Value::Table& vocabulary = *model["vocab"].table();
  for (const Value& token : *family["extra"].list())
    vocabulary.emplace(*token.text(), static_cast<int64_t>(vocabulary.size()));
  return to_json(file, -1);
}

// The package knows nothing of this key, which is of transformers.
std::string config_json(const Value& family) {
  Value config = family["config"];
  config.table()->erase("clean_up_tokenization_spaces");
  return to_json(config, -1);
}

class TextFamily : public testing::TestWithParam<size_t> {
 protected:
  const Value& family() const { return (*golden()["families"].list())[GetParam()]; }
  std::unique_ptr<Tokenizer> tokenizer() const {
    auto made = Tokenizer::create(family_json(family()), config_json(family()));
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? *std::move(made) : nullptr;
  }
};

TEST_P(TextFamily, GivesTheIdsAndTextsOfTheTokenizersPackage) {
  const auto tokenizer = this->tokenizer();
  ASSERT_NE(tokenizer, nullptr);
  for (size_t i = 0; i < texts().size(); ++i) {
    const std::string& text = *texts()[i].text();
    const auto ids = tokenizer->encode(text, false);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, integers((*family()["ids"].list())[i])) << text;
    const std::string* decoded = (*family()["decoded"].list())[i].text();
    const std::string* skipped = (*family()["skipped"].list())[i].text();
    if (decoded == nullptr) decoded = &text;
    if (skipped == nullptr) skipped = decoded;
    EXPECT_EQ(tokenizer->decode(*ids, false), *decoded);
    EXPECT_EQ(tokenizer->decode(*ids, true), *skipped);
  }
}

TEST_P(TextFamily, PutsTheSpecialTokensOfTransformersAround) {
  const auto tokenizer = this->tokenizer();
  ASSERT_NE(tokenizer, nullptr);
  for (const Value& text : texts()) {
    std::vector<int64_t> expected = integers(family()["before"]);
    const auto plain = tokenizer->encode(*text.text(), false);
    ASSERT_TRUE(plain.ok()) << plain.status();
    expected.insert(expected.end(), plain->begin(), plain->end());
    for (const int64_t id : integers(family()["after"])) expected.push_back(id);
    EXPECT_EQ(tokenizer->encode(*text.text(), true).value(), expected) << *text.text();
  }
}

TEST_P(TextFamily, GivesTheIdsOfTheTokenizersPackageForAllOfUnicode14) {
  const auto tokenizer = this->tokenizer();
  ASSERT_NE(tokenizer, nullptr);
  const auto ids = tokenizer->encode(mixed_text(golden().i64("mixed_bytes", 0)), false);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(static_cast<int64_t>(ids->size()), family()["mixed"].i64("count", 0));
  EXPECT_EQ(digest(*ids), family()["mixed"].str("fnv1a", ""));
}

std::string family_name(const testing::TestParamInfo<size_t>& info) {
  std::string name = (*golden()["families"].list())[info.param].str("name", "");
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Of, TextFamily, testing::Range<size_t>(0, 32), family_name);

TEST(TextFamilies, AreAllCompared) { EXPECT_EQ(golden()["families"].list()->size(), 32u); }

}  // namespace
}  // namespace swage::text
