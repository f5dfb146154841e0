#include "policy.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "component.h"

namespace swage::text {
namespace {

constexpr const char* kNamedTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
// Classes whose post-processor is made from add_bos_token and add_eos_token.
constexpr const char* kBosClasses[] = {
    "LlamaTokenizer",     "LlamaTokenizerFast",    "CodeLlamaTokenizer", "CodeLlamaTokenizerFast",
    "GemmaTokenizer",     "GemmaTokenizerFast",    "CohereTokenizer",    "CohereTokenizerFast",
    "InternLM2Tokenizer", "InternLM2TokenizerFast"};

// A token is a string or {"content": …, flags}.
AddedToken named_token(const Value& node) {
  AddedToken token;
  if (const std::string* content = node.text()) {
    token.content = *content;
    token.normalized = false;
  } else if (node.table() != nullptr) {
    token = read_added_token(node);
  }
  token.id = -1;
  token.special = true;
  return token;
}

void add_missing(AddedToken token, const Vocabulary& model, AddedTokens* added) {
  if (!added->has(token.content)) added->add(std::move(token), model);
}

}  // namespace

absl::Status add_configured_tokens(const Value& config, const Vocabulary& model,
                                   AddedTokens* added) {
  if (const Value::Table* listed = config["added_tokens_decoder"].table()) {
    std::map<int64_t, const Value*> by_id;  // the order in which readers add them
    for (const auto& [key, node] : *listed) {
      char* end = nullptr;
      const int64_t id = std::strtoll(key.c_str(), &end, 10);
      if (key.empty() || *end != '\0') {
        return absl::InvalidArgumentError(
            absl::StrCat("added_tokens_decoder: the key \"", key, "\" is no id"));
      }
      by_id[id] = &node;
    }
    for (const auto& [id, node] : by_id) added->add(read_added_token(*node), model);
  }
  for (const char* name : kNamedTokens) add_missing(named_token(config[name]), model, added);
  if (const Value::List* others = config["additional_special_tokens"].list()) {
    for (const Value& node : *others) add_missing(named_token(node), model, added);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<PostProcessor>> configured_post_processor(const Value& config,
                                                                       bool file_has_one,
                                                                       const Vocabulary& model,
                                                                       const AddedTokens& added) {
  const std::string name = config.str("tokenizer_class", "");
  const bool from_class =
      std::find(std::begin(kBosClasses), std::end(kBosClasses), name) != std::end(kBosClasses);
  const bool has_keys = config.has("add_bos_token") || config.has("add_eos_token");
  if (!from_class || (file_has_one && !has_keys)) return std::optional<PostProcessor>();
  std::vector<int64_t> sides[2];
  const char* const keys[2] = {"bos_token", "eos_token"};
  const bool wanted[2] = {config.flag("add_bos_token", true), config.flag("add_eos_token", false)};
  for (int i = 0; i < 2; ++i) {
    if (!wanted[i]) continue;
    const std::string content = named_token(config[keys[i]]).content;
    int64_t id = added.vocabulary().find(content);
    if (id < 0) id = model.find(content);
    if (id < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("add_", keys[i], " asks for ", keys[i], ", which is not set"));
    }
    sides[i].push_back(id);
  }
  return std::optional<PostProcessor>(surround(std::move(sides[0]), std::move(sides[1])));
}

void clean_up_spaces(std::string* text) {
  // One after the other, as each sees what the one before left.
  for (const auto& [from, to] :
       {std::pair(" .", "."), std::pair(" ?", "?"), std::pair(" !", "!"), std::pair(" ,", ","),
        std::pair(" ' ", "'"), std::pair(" n't", "n't"), std::pair(" 'm", "'m"),
        std::pair(" 's", "'s"), std::pair(" 've", "'ve"), std::pair(" 're", "'re")}) {
    absl::StrReplaceAll({{from, to}}, text);
  }
}

}  // namespace swage::text
