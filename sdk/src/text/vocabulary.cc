#include "vocabulary.h"

#include "absl/strings/str_cat.h"

namespace swage::text {

absl::Status Vocabulary::add(std::string_view token, int64_t id) {
  if (id < 0 || id >= kMaxVocabulary) {
    return absl::InvalidArgumentError(absl::StrCat("token \"", std::string(token), "\" has the id ",
                                                   id, ", expected 0 to ", kMaxVocabulary - 1));
  }
  if (const std::string* other = this->token(id)) {
    if (*other == token) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("tokens \"", *other, "\" and \"",
                                                   std::string(token), "\" have the same id ", id));
  }
  if (ids_.find(token) != ids_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("token \"", std::string(token), "\" has the ids ", find(token), " and ", id));
  }
  tokens_.emplace_back(token);
  ids_.emplace(tokens_.back(), id);
  if (id >= size()) by_id_.resize(static_cast<size_t>(id) + 1, nullptr);
  by_id_[static_cast<size_t>(id)] = &tokens_.back();
  return absl::OkStatus();
}

int64_t Vocabulary::find(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? -1 : it->second;
}

const std::string* Vocabulary::token(int64_t id) const {
  return id >= 0 && id < size() ? by_id_[static_cast<size_t>(id)] : nullptr;
}

}  // namespace swage::text
