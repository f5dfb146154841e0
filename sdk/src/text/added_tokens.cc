#include "added_tokens.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "component.h"
#include "unicode.h"

namespace swage::text {

AddedToken read_added_token(const Value& node) {
  AddedToken token;
  token.id = node.i64("id", -1);
  token.content = node.str("content", "");
  token.single_word = node.flag("single_word", false);
  token.lstrip = node.flag("lstrip", false);
  token.rstrip = node.flag("rstrip", false);
  token.special = node.flag("special", false);
  token.normalized = node.flag("normalized", !token.special);
  return token;
}

void AddedTokens::add(AddedToken token, const Vocabulary& base) {
  if (token.content.empty()) return;
  const auto [place, is_new] = places_.emplace(token.content, tokens_.size());
  if (!is_new) {
    AddedToken& same = tokens_[place->second];
    token.id = same.id;
    token.special |= same.special;
    same = std::move(token);
    return;
  }
  token.id = base.find(token.content);
  if (token.id < 0) token.id = std::max(base.count(), largest_ + 1);
  largest_ = std::max(largest_, token.id);
  tokens_.push_back(std::move(token));
}

absl::Status AddedTokens::finish(const Normalizer& normalizer) {
  constexpr size_t kMostBytes = 4096, kMostTogether = size_t{4} << 20;
  size_t together = 0;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    if (token.content.size() > kMostBytes) {
      return absl::InvalidArgumentError(absl::StrCat("added_tokens: token ", token.id, " has ",
                                                     token.content.size(), " bytes, at most ",
                                                     kMostBytes, " are read"));
    }
    SWAGE_RETURN_IF_ERROR(annotate(vocabulary_.add(token.content, token.id), "added_tokens"));
    if (token.special) special_.insert(token.id);
    std::string content = token.content;
    if (token.normalized) SWAGE_RETURN_IF_ERROR(normalizer(&content));
    together += content.size();
    if (together > kMostTogether)
      return absl::InvalidArgumentError(
          absl::StrCat("added_tokens: ", tokens_.size(), " tokens have more than ",
                       kMostTogether >> 20, " MiB together; is this what the model came with?"));
    (token.normalized ? normalized_ : raw_).add(content, static_cast<int64_t>(i));
    texts_[token.id] = std::move(content);
  }
  raw_.finish();
  normalized_.finish();
  return absl::OkStatus();
}

const std::string* AddedTokens::text(int64_t id) const {
  const auto it = texts_.find(id);
  return it == texts_.end() ? nullptr : &it->second;
}

std::vector<Section> AddedTokens::cut(std::string_view text, const Matcher& matcher) const {
  std::vector<Section> sections;
  size_t covered = 0, scratch = 0, at = 0;
  for (const Matcher::Match& match : matcher.find(text)) {
    if (match.begin < at) continue;  // inside of the one before
    const AddedToken& token = tokens_[static_cast<size_t>(match.value)];
    size_t begin = match.begin, end = match.end;
    at = end;
    if (token.single_word) {
      if (begin > 0 && is_word(previous_char(text, begin, &scratch))) continue;
      scratch = end;
      if (end < text.size() && is_word(next_char(text, &scratch))) continue;
    }
    while (token.lstrip && begin > covered && is_white_space(previous_char(text, begin, &scratch)))
      begin = scratch;
    for (scratch = end;
         token.rstrip && scratch < text.size() && is_white_space(next_char(text, &scratch));)
      end = scratch;
    if (covered < begin) sections.push_back({covered, begin, -1});
    sections.push_back({begin, end, token.id});
    covered = end;
  }
  if (covered < text.size()) sections.push_back({covered, text.size(), -1});
  return sections;
}

}  // namespace swage::text
