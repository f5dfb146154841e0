#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "absl/status/status.h"
#include "matcher.h"
#include "normalizer.h"
#include "swage/value.h"
#include "vocabulary.h"

namespace swage::text {

struct AddedToken {
  int64_t id = -1;
  std::string content;
  bool single_word = false, lstrip = false, rstrip = false, normalized = true, special = false;
};
AddedToken read_added_token(const Value& node);

// A stretch of text, or a token that was found in it.
struct Section {
  size_t begin = 0, end = 0;
  int64_t id = -1;  // -1: text
};

// Tokens that are cut out of the text before the model sees it.
class AddedTokens {
 public:
  // Ids are those that the tokenizers package gives, whatever a file states: that of the content in
  // the vocabulary of the model, `base`, else the next one behind its entries and all added tokens.
  // A token with the content of an earlier one keeps its id and changes its flags; it is special if
  // one of them is. Empty ones are left out.
  void add(AddedToken token, const Vocabulary& base);
  // Makes the matchers; `normalizer` is applied to the content of tokens that match normalized
  // text.
  absl::Status finish(const Normalizer& normalizer);

  std::vector<Section> cut_raw(std::string_view text) const { return cut(text, raw_); }
  std::vector<Section> cut_normalized(std::string_view text) const {
    return cut(text, normalized_);
  }
  bool has(const std::string& content) const { return places_.count(content) > 0; }
  // What decoding writes: the content as it matches, so normalized for tokens that match normalized
  // text. Null: not there.
  const std::string* text(int64_t id) const;
  bool is_special(int64_t id) const { return special_.count(id) > 0; }
  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  std::vector<Section> cut(std::string_view text, const Matcher& matcher) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, size_t> places_;  // in tokens_, by content
  int64_t largest_ = -1;                            // id
  std::unordered_set<int64_t> special_;
  Vocabulary vocabulary_;
  std::unordered_map<int64_t, std::string> texts_;
  Matcher raw_, normalized_;  // values are places in tokens_
};

}  // namespace swage::text
