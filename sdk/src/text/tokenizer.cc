#include "swage/text/tokenizer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "added_tokens.h"
#include "bpe.h"
#include "component.h"
#include "decoder.h"
#include "normalizer.h"
#include "policy.h"
#include "post_processor.h"
#include "pre_tokenizer.h"
#include "sentencepiece.h"
#include "unicode.h"

namespace swage::text {

struct Tokenizer::Impl {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<Bpe> model;
  PostProcessor post_processor;
  Decoder decoder;
  AddedTokens added;
  bool clean_up = false;

  absl::Status read(const Value& file, const Value& config);
  absl::Status read_added(const Value& file, const Value& config);
  absl::Status encode_stretch(std::string_view text, bool at_start, Bpe::Workspace* work,
                              std::vector<int64_t>* ids) const;
};

absl::Status Tokenizer::Impl::read_added(const Value& file, const Value& config) {
  if (const Value::List* tokens = file["added_tokens"].list()) {
    for (const Value& node : *tokens) {
      AddedToken token = read_added_token(node);
      if (token.id < 0 || token.id >= kMaxVocabulary) {
        return absl::InvalidArgumentError(absl::StrCat("added_tokens: token \"", token.content,
                                                       "\" has the id ", token.id,
                                                       ", expected 0 to ", kMaxVocabulary - 1));
      }
      added.add(std::move(token), model->vocabulary());
    }
  }
  SWAGE_RETURN_IF_ERROR(annotate(add_configured_tokens(config, model->vocabulary(), &added),
                                 "tokenizer_config.json"));
  return added.finish(normalizer);
}

absl::Status Tokenizer::Impl::read(const Value& file, const Value& config) {
  if (file.table() == nullptr) return absl::InvalidArgumentError("the file holds no table");
  SWAGE_ASSIGN_OR_RETURN(normalizer, make_normalizer(file["normalizer"]));
  SWAGE_ASSIGN_OR_RETURN(pre_tokenizer, make_pre_tokenizer(file["pre_tokenizer"]));
  SWAGE_ASSIGN_OR_RETURN(model, Bpe::create(file["model"]));
  SWAGE_ASSIGN_OR_RETURN(post_processor, make_post_processor(file["post_processor"]));
  SWAGE_ASSIGN_OR_RETURN(decoder, make_decoder(file["decoder"]));
  SWAGE_RETURN_IF_ERROR(read_added(file, config));
  SWAGE_ASSIGN_OR_RETURN(
      auto from_config,
      configured_post_processor(config, file.has("post_processor"), model->vocabulary(), added));
  if (from_config) post_processor = *std::move(from_config);
  clean_up = config.flag("clean_up_tokenization_spaces", false);
  return absl::OkStatus();
}

absl::Status Tokenizer::Impl::encode_stretch(std::string_view text, bool at_start,
                                             Bpe::Workspace* work,
                                             std::vector<int64_t>* ids) const {
  std::string normal(text);
  SWAGE_RETURN_IF_ERROR(normalizer(&normal));
  for (const Section& section : added.cut_normalized(normal)) {
    if (section.id >= 0) {
      ids->push_back(section.id);
      continue;
    }
    Pieces pieces;
    pieces.text = normal.substr(section.begin, section.end - section.begin);
    pieces.ranges = {{0, pieces.text.size(), at_start && section.begin == 0}};
    SWAGE_RETURN_IF_ERROR(pre_tokenizer(&pieces));
    for (const Pieces::Range& range : pieces.ranges) model->encode(pieces.piece(range), work, ids);
  }
  return absl::OkStatus();
}

namespace {

absl::StatusOr<Value> read_config(std::string_view text) {
  if (text.empty()) return Value(Value::Table());
  SWAGE_ASSIGN_OR_RETURN(Value config, parse_json(text, "tokenizer_config.json"));
  if (config.table() == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer_config.json: the file is a ",
                                                   config.type_name(), ", expected an object"));
  }
  return config;
}

// Runs `read`; what it refuses names the file.
template <class Read>
absl::Status read_file(const char* name, Read read) {
  try {
    return annotate(read(), name);
  } catch (const std::invalid_argument& error) {  // a member of another type
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", error.what()));
  }
}

}  // namespace

Tokenizer::Tokenizer() : impl_(std::make_unique<Impl>()) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::create(std::string_view tokenizer_json,
                                                             std::string_view config) {
  SWAGE_ASSIGN_OR_RETURN(const Value file, parse_json(tokenizer_json, "tokenizer.json"));
  SWAGE_ASSIGN_OR_RETURN(const Value settings, read_config(config));
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  SWAGE_RETURN_IF_ERROR(
      read_file("tokenizer.json", [&] { return tokenizer->impl_->read(file, settings); }));
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::create_from_sentencepiece(
    std::string_view tokenizer_model, std::string_view config) {
  SWAGE_ASSIGN_OR_RETURN(const Value settings, read_config(config));
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  SWAGE_RETURN_IF_ERROR(read_file("tokenizer.model", [&]() -> absl::Status {
    SWAGE_ASSIGN_OR_RETURN(const SentencePiece model, read_sentencepiece(tokenizer_model));
    SWAGE_ASSIGN_OR_RETURN(const Value file, tokenizer_of(model, settings));
    return tokenizer->impl_->read(file, completed(model, settings));
  }));
  return tokenizer;
}

absl::StatusOr<std::vector<int64_t>> Tokenizer::encode(std::string_view text,
                                                       bool add_special_tokens) const {
  if (const size_t bad = find_bad_utf8(text); bad != kValidUtf8) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text is not valid UTF-8: byte ", bad, " is 0x",
                     absl::Hex(static_cast<unsigned char>(text[bad]), absl::kZeroPad2)));
  }
  std::vector<int64_t> ids;
  Bpe::Workspace work;
  for (const Section& section : impl_->added.cut_raw(text)) {
    if (section.id >= 0) {
      ids.push_back(section.id);
    } else {
      SWAGE_RETURN_IF_ERROR(
          impl_->encode_stretch(text.substr(section.begin, section.end - section.begin),
                                section.begin == 0, &work, &ids));
    }
  }
  if (add_special_tokens) impl_->post_processor(&ids);
  return ids;
}

std::string Tokenizer::decode(const std::vector<int64_t>& ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (const int64_t id : ids) {
    if (skip_special_tokens && impl_->added.is_special(id)) continue;
    const std::string* token = impl_->added.text(id);
    if (token == nullptr) token = impl_->model->vocabulary().token(id);
    if (token != nullptr) tokens.push_back(*token);
  }
  impl_->decoder(&tokens);
  std::string text = absl::StrJoin(tokens, "");
  if (impl_->clean_up) clean_up_spaces(&text);
  return text;
}

int64_t Tokenizer::vocab_size() const {
  return std::max(impl_->model->vocabulary().size(), impl_->added.vocabulary().size());
}

int64_t Tokenizer::id(std::string_view token) const {
  const int64_t id = impl_->added.vocabulary().find(token);
  return id >= 0 ? id : impl_->model->vocabulary().find(token);
}

}  // namespace swage::text
