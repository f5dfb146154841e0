#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "bpe.h"
#include "component.h"

namespace swage::text {
namespace {

constexpr std::string_view kWordMark = "▁";

// Null, absent and "" mean the same.
std::string optional_text(const Value& model, const char* key) { return model.str(key, ""); }

absl::Status refuse_dropout(const Value& model) {
  if (model.f64("dropout", 0) == 0) return absl::OkStatus();
  return absl::UnimplementedError("\"dropout\" makes ids random, expected null");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Bpe>> Bpe::create(const Value& model) {
  return named("model", [&]() -> absl::StatusOr<std::unique_ptr<Bpe>> {
    const std::string type = model.str("type", model.has("merges") ? "BPE" : "");
    if (type != "BPE") {
      return absl::UnimplementedError(
          absl::StrCat("\"", type, "\" is not supported, expected BPE"));
    }
    SWAGE_RETURN_IF_ERROR(refuse_dropout(model));
    auto bpe = std::make_unique<Bpe>();
    SWAGE_RETURN_IF_ERROR(bpe->read_vocabulary(model));
    SWAGE_RETURN_IF_ERROR(bpe->read_merges(required_list(model, "merges")));
    return bpe;
  });
}

absl::Status Bpe::read_vocabulary(const Value& model) {
  const Value::Table* tokens = model["vocab"].table();
  if (tokens == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("\"vocab\" is a ", model["vocab"].type_name(),
                                                   ", expected a table of token and id"));
  }
  for (const auto& [token, id] : *tokens) {
    if (id.integer() == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("vocab: the id of \"", token, "\" is a ",
                                                     id.type_name(), ", expected an integer"));
    }
    SWAGE_RETURN_IF_ERROR(annotate(vocabulary_.add(token, *id.integer()), "vocab"));
  }
  prefix_ = optional_text(model, "continuing_subword_prefix");
  suffix_ = optional_text(model, "end_of_word_suffix");
  fuse_unknown_ = model.flag("fuse_unk", false);
  byte_fallback_ = model.flag("byte_fallback", false);
  ignore_merges_ = model.flag("ignore_merges", false);
  if (const std::string unknown = optional_text(model, "unk_token"); !unknown.empty()) {
    unknown_ = vocabulary_.find(unknown);
    if (unknown_ < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"unk_token\" ", unknown, " is not in the vocabulary"));
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", byte);
    byte_ids_[byte] = vocabulary_.find(name);
  }
  separable_ = words_are_separable();
  return absl::OkStatus();
}

// Whether no token holds a "▁" behind another character: then no merge crosses that border, and a
// long text can be encoded word by word. A "▁" that the vocabulary lacks might be fused with
// unknowns before it.
bool Bpe::words_are_separable() const {
  if (ignore_merges_ || !prefix_.empty() || !suffix_.empty() || vocabulary_.find(kWordMark) < 0)
    return false;
  const bool drops = unknown_ < 0 && !(byte_fallback_ &&
                                       *std::min_element(byte_ids_.begin(), byte_ids_.end()) >= 0);
  if (drops) return false;
  for (int64_t id = 0; id < vocabulary_.size(); ++id) {
    const std::string* token = vocabulary_.token(id);
    if (token == nullptr) continue;
    size_t run = 0;  // end of the leading marks
    while (token->compare(run, kWordMark.size(), kWordMark) == 0) run += kWordMark.size();
    if (token->find(kWordMark, run) != std::string::npos) return false;
  }
  return true;
}

absl::Status Bpe::read_merges(const Value::List& merges) {
  if (static_cast<int64_t>(merges.size()) > kMaxVocabulary) {
    return absl::InvalidArgumentError(
        absl::StrCat("merges: ", merges.size(), " entries, at most ", kMaxVocabulary, " are read"));
  }
  merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Value& merge = merges[rank];
    std::string_view left, right;
    if (const std::string* line = merge.text()) {
      const size_t space = line->find(' ');
      if (space != std::string::npos && line->find(' ', space + 1) == std::string::npos) {
        left = std::string_view(*line).substr(0, space);
        right = std::string_view(*line).substr(space + 1);
      }
    } else if (const Value::List* pair = merge.list(); pair != nullptr && pair->size() == 2) {
      if ((*pair)[0].text() != nullptr) left = *(*pair)[0].text();
      if ((*pair)[1].text() != nullptr) right = *(*pair)[1].text();
    }
    if (left.empty() || right.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "merges: entry ", rank, R"( is neither "left right" nor ["left", "right"])"));
    }
    SWAGE_RETURN_IF_ERROR(annotate(add_merge(left, right, static_cast<int32_t>(rank)),
                                   absl::StrCat("merges: entry ", rank)));
  }
  return absl::OkStatus();
}

absl::Status Bpe::add_merge(std::string_view left, std::string_view right, int32_t rank) {
  std::string merged(left);
  const bool continued = !prefix_.empty() && right.substr(0, prefix_.size()) == prefix_;
  merged += continued ? right.substr(prefix_.size()) : right;
  int64_t ids[3];
  const std::string_view parts[3] = {left, right, merged};
  for (int i = 0; i < 3; ++i) {
    ids[i] = vocabulary_.find(parts[i]);
    if (ids[i] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("token \"", std::string(parts[i]), "\" is not in the vocabulary"));
    }
  }
  merges_[static_cast<uint64_t>(ids[0]) << 32 | static_cast<uint64_t>(ids[1])] = {rank, ids[2]};
  return absl::OkStatus();
}

}  // namespace swage::text
