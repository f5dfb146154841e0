#include "gguf_tokenizer.h"

#include "../text/sentencepiece.h"
#include "../text/unicode.h"
#include "absl/strings/str_cat.h"
#include "gguf_cutters.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr int64_t kControl = 3, kUserDefined = 4;  // token types
Value byte_level(bool use_regex, bool add_prefix_space) {
  return Value::Table{{"type", "ByteLevel"},
                      {"add_prefix_space", add_prefix_space},
                      {"trim_offsets", true},
                      {"use_regex", use_regex}};
}

class Writer {
 public:
  explicit Writer(const GgufFile& file) : file_(file), metadata_(file.metadata) {}

  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> run() {
    SWAGE_RETURN_IF_ERROR(read_tokens());
    SWAGE_ASSIGN_OR_RETURN(const Value tokenizer, make_tokenizer());
    const Value special = special_tokens();
    return std::vector<std::pair<std::string, std::string>>{
        {"generation_config.json", to_json(generation())},
        {"special_tokens_map.json", to_json(special)},
        {"tokenizer.json", to_json(tokenizer, -1)},
        {"tokenizer_config.json", to_json(config(special))}};
  }

 private:
  absl::Status read_tokens() {
    const std::string model = metadata_.str("tokenizer.ggml.model", "");
    sentencepiece_ = model == "llama";
    if (model != "gpt2" && !sentencepiece_) {
      return absl::UnimplementedError(
          absl::StrCat("the tokenizer model \"", model,
                       "\" is not read, expected gpt2 (byte-level BPE) or llama (SentencePiece); "
                       "use the safetensors checkpoint with its tokenizer.json"));
    }
    const char* const ranks = sentencepiece_ ? "tokenizer.ggml.scores" : "tokenizer.ggml.merges";
    for (const char* key : {"tokenizer.ggml.tokens", ranks, "tokenizer.ggml.token_type"}) {
      if (metadata_[key].list() == nullptr)
        return absl::InvalidArgumentError(absl::StrCat("the array \"", key, "\" is missing"));
    }
    for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"}) {
      if (metadata_[key].list() == nullptr) continue;
      for (const Value& item : *metadata_[key].list()) {
        if (item.text() == nullptr || text::find_bad_utf8(*item.text()) != text::kValidUtf8) {
          return absl::InvalidArgumentError(
              absl::StrCat("\"", key, "\" holds an item that is no UTF-8 text"));
        }
      }
    }
    tokens_ = metadata_["tokenizer.ggml.tokens"].list();
    types_ = metadata_["tokenizer.ggml.token_type"].list();
    if (types_->size() != tokens_->size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(tokens_->size(), " tokens have ", types_->size(), " types"));
    }
    return absl::OkStatus();
  }

  const std::string* token(const char* key) const {
    const int64_t id = metadata_.i64(std::string("tokenizer.ggml.") + key, -1);
    return id >= 0 && id < static_cast<int64_t>(tokens_->size())
               ? (*tokens_)[static_cast<size_t>(id)].text()
               : nullptr;
  }

  Value added_tokens() const {
    Value::List added;
    for (size_t id = 0; id < tokens_->size(); ++id) {
      const int64_t* type = (*types_)[id].integer();
      if (type == nullptr || (*type != kControl && *type != kUserDefined)) continue;
      added.push_back(Value::Table{{"id", static_cast<int64_t>(id)},
                                   {"content", (*tokens_)[id]},
                                   {"single_word", false},
                                   {"lstrip", false},
                                   {"rstrip", false},
                                   {"normalized", false},
                                   {"special", *type == kControl}});
    }
    return added;
  }

  absl::StatusOr<Value> make_vocabulary() const {
    Value::Table vocabulary;
    for (size_t id = 0; id < tokens_->size(); ++id) {
      if (!vocabulary.emplace(*(*tokens_)[id].text(), static_cast<int64_t>(id)).second) {
        return absl::InvalidArgumentError(
            absl::StrCat("the token \"", *(*tokens_)[id].text(), "\" stands there twice"));
      }
    }
    return Value(std::move(vocabulary));
  }

  // BOS in front, where the file asks for it.
  Value post_processor(bool by_default) const {
    const std::string* bos = token("bos_token_id");
    if (bos == nullptr || !metadata_.flag("tokenizer.ggml.add_bos_token", by_default))
      return Value();
    const auto piece = [](const char* kind, const std::string& id) {
      return Value(Value::Table{{kind, Value::Table{{"id", id}, {"type_id", 0}}}});
    };
    const Value::Table special = {
        {*bos, Value::Table{{"id", *bos},
                            {"ids", Value::List{metadata_["tokenizer.ggml.bos_token_id"]}},
                            {"tokens", Value::List{*bos}}}}};
    return Value::Table{
        {"type", "TemplateProcessing"},
        {"single", Value::List{piece("SpecialToken", *bos), piece("Sequence", "A")}},
        {"pair",
         Value::List{piece("SpecialToken", *bos), piece("Sequence", "A"), piece("Sequence", "B")}},
        {"special_tokens", special}};
  }

  // Token types are those of SentencePiece.
  absl::StatusOr<Value> make_from_pieces() const {
    const Value::List& scores = *metadata_["tokenizer.ggml.scores"].list();
    if (scores.size() != tokens_->size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(tokens_->size(), " tokens have ", scores.size(), " scores"));
    }
    text::SentencePiece model;
    model.model_type = 2;
    model.byte_fallback = true;
    model.remove_extra_whitespaces = false;
    model.add_dummy_prefix = metadata_.flag("tokenizer.ggml.add_space_prefix", true);
    for (size_t id = 0; id < tokens_->size(); ++id) {
      double score = 0;
      const int64_t* type = (*types_)[id].integer();
      if (!scores[id].number(&score) || type == nullptr || *type < 1 || *type > 6) {
        return absl::InvalidArgumentError(
            absl::StrCat("token ", id, " has no number as its score, or no type from 1 to 6"));
      }
      model.pieces.push_back({*(*tokens_)[id].text(), static_cast<float>(score),
                              static_cast<text::SentencePiece::Type>(*type)});
    }
    SWAGE_ASSIGN_OR_RETURN(Value tokenizer, text::tokenizer_of(model, Value::Table()));
    (*tokenizer.table())["post_processor"] = post_processor(true);
    return tokenizer;
  }

  absl::StatusOr<Value> make_tokenizer() const {
    if (sentencepiece_) return make_from_pieces();
    const std::string pre = metadata_.str("tokenizer.ggml.pre", "default");
    const GgufCutter* const cutter = gguf_cutter(pre);
    if (cutter == nullptr) {
      return absl::UnimplementedError(
          absl::StrCat("the pre-tokenizer \"", pre,
                       "\" is not known; use the safetensors checkpoint with its tokenizer.json"));
    }
    const bool llama3 = cutter->whole_words;
    SWAGE_ASSIGN_OR_RETURN(Value vocabulary, make_vocabulary());
    const Value::Table model = {{"type", "BPE"},
                                {"dropout", Value()},
                                {"unk_token", Value()},
                                {"continuing_subword_prefix", Value()},
                                {"end_of_word_suffix", Value()},
                                {"fuse_unk", false},
                                {"byte_fallback", false},
                                {"ignore_merges", llama3},
                                {"vocab", std::move(vocabulary)},
                                {"merges", metadata_["tokenizer.ggml.merges"]}};
    return Value(Value::Table{{"version", "1.0"},
                              {"truncation", Value()},
                              {"padding", Value()},
                              {"added_tokens", added_tokens()},
                              {"normalizer", Value()},
                              {"pre_tokenizer", pre_tokenizer_of(*cutter)},
                              {"post_processor", post_processor(llama3)},
                              {"decoder", byte_level(true, true)},
                              {"model", model}});
  }

  Value special_tokens() const {
    Value::Table special;
    const std::pair<const char*, const char*> names[] = {{"bos_token", "bos_token_id"},
                                                         {"eos_token", "eos_token_id"},
                                                         {"pad_token", "eos_token_id"},
                                                         {"pad_token", "padding_token_id"},
                                                         {"unk_token", "unknown_token_id"}};
    for (const auto& [name, key] : names) {
      if (const std::string* content = token(key)) special[name] = *content;
    }
    return special;
  }

  Value config(const Value& special) const {
    Value::Table table = *special.table();
    // A class that leaves BOS to tokenizer.json.
    table["tokenizer_class"] = sentencepiece_ ? "PreTrainedTokenizerFast" : "GPT2Tokenizer";
    table["add_prefix_space"] = false;
    table["model_max_length"] = file_.config["max_position_embeddings"];
    if (metadata_.has("tokenizer.chat_template"))
      table["chat_template"] = metadata_["tokenizer.chat_template"];
    return table;
  }

  Value generation() const {
    Value::Table table;
    for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
      if (file_.config.has(key)) table[key] = file_.config[key];
    }
    return table;
  }

  const GgufFile& file_;
  const Value& metadata_;
  const Value::List* tokens_ = nullptr;
  const Value::List* types_ = nullptr;
  bool sentencepiece_ = false;
};

}  // namespace

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> make_side_files(
    const GgufFile& file) {
  try {
    if (file.metadata.str("tokenizer.ggml.model", "none") == "none")
      return std::vector<std::pair<std::string, std::string>>();
    return Writer(file).run();
  } catch (const std::invalid_argument& error) {  // a key of another type
    return absl::InvalidArgumentError(error.what());
  }
}

}  // namespace swage::io
