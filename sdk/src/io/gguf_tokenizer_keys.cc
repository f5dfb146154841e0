// tokenizer.json or tokenizer.model as keys of GGUF.
#include <map>

#include "../text/sentencepiece.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gguf_cutters.h"
#include "swage/io/gguf_architecture.h"
#include "swage/status.h"
#include "swage/text/tokenizer.h"

namespace swage::io {
namespace {

constexpr int64_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;
constexpr double kAddedScore = -1000, kUnusedScore = -10000;

class KeyMaker {
 public:
  KeyMaker(const Value& config, const SideFiles& files) : config_(config) {
    for (const auto& [name, content] : files) files_[name] = &content;
  }

  absl::StatusOr<std::vector<GgufKey>> run() {
    if (files_.count("tokenizer.json") == 0 && files_.count("tokenizer.model") == 0)
      return std::vector<GgufKey>{
          {"tokenizer.ggml.model", GgufType::kText, "none", GgufType::kU32}};
    SWAGE_ASSIGN_OR_RETURN(settings_, parsed("tokenizer_config.json"));
    SWAGE_ASSIGN_OR_RETURN(file_, parsed("tokenizer.json"));
    SWAGE_RETURN_IF_ERROR(open());
    if (file_.table() == nullptr || (pieces_ && files_.count("tokenizer.model") > 0)) {
      SWAGE_RETURN_IF_ERROR(add_pieces());
    } else {
      SWAGE_RETURN_IF_ERROR(add_vocabulary());
    }
    SWAGE_RETURN_IF_ERROR(add_added());
    SWAGE_RETURN_IF_ERROR(write());
    return std::move(keys_);
  }

 private:
  absl::StatusOr<Value> parsed(const std::string& name) const {
    const auto file = files_.find(name);
    if (file == files_.end()) return Value();
    return parse_json(*file->second, name);
  }

  std::string content(const std::string& name) const {
    const auto file = files_.find(name);
    return file == files_.end() ? "" : *file->second;
  }

  // SentencePiece's form of BPE has bytes as tokens of their own, the other one maps them.
  absl::Status open() {
    const std::string settings = content("tokenizer_config.json");
    if (file_.table() == nullptr) {
      pieces_ = true;
      SWAGE_ASSIGN_OR_RETURN(tokenizer_, text::Tokenizer::create_from_sentencepiece(
                                             content("tokenizer.model"), settings));
      return absl::OkStatus();
    }
    pieces_ = file_["model"].flag("byte_fallback", false);
    SWAGE_ASSIGN_OR_RETURN(tokenizer_,
                           text::Tokenizer::create(content("tokenizer.json"), settings));
    return absl::OkStatus();
  }

  void place(int64_t id, const std::string& token, double score, int64_t type) {
    const auto at = static_cast<size_t>(id);
    while (tokens_.size() <= at) {
      tokens_.push_back(absl::StrCat("[PAD", tokens_.size(), "]"));
      scores_.push_back(kUnusedScore);
      types_.push_back(kUnused);
    }
    tokens_[at] = token, scores_[at] = score, types_[at] = type;
  }

  absl::Status add_pieces() {
    SWAGE_ASSIGN_OR_RETURN(const text::SentencePiece model,
                           text::read_sentencepiece(content("tokenizer.model")));
    if (model.model_type != 2) {
      return absl::UnimplementedError(
          "tokenizer.model is no BPE model; llama.cpp's \"llama\" needs one");
    }
    for (size_t id = 0; id < model.pieces.size(); ++id) {
      const auto& piece = model.pieces[id];
      place(static_cast<int64_t>(id), piece.text, static_cast<double>(piece.score),
            static_cast<int64_t>(piece.type));
    }
    space_prefix_ = model.add_dummy_prefix;
    return absl::OkStatus();
  }

  absl::StatusOr<std::pair<std::string, std::string>> merge(const Value& item) const {
    if (const Value::List* pair = item.list(); pair != nullptr && pair->size() == 2) {
      const std::string *left = (*pair)[0].text(), *right = (*pair)[1].text();
      if (left != nullptr && right != nullptr) return std::pair(*left, *right);
    }
    if (const std::string* both = item.text()) {
      const size_t space = both->find(' ');
      if (space != std::string::npos)
        return std::pair(both->substr(0, space), both->substr(space + 1));
    }
    return absl::InvalidArgumentError("tokenizer.json: a merge is no pair of tokens");
  }

  absl::Status add_vocabulary() {
    const Value& model = file_["model"];
    const Value::Table* vocabulary = model["vocab"].table();
    const Value::List* merges = model["merges"].list();
    if (vocabulary == nullptr || merges == nullptr) {
      return absl::UnimplementedError("tokenizer.json: its model is no BPE, which GGUF needs here");
    }
    std::map<std::string, double> ranks;
    for (const Value& item : *merges) {
      SWAGE_ASSIGN_OR_RETURN(const auto pair, merge(item));
      ranks.emplace(pair.first + pair.second, -static_cast<double>(ranks.size()) - 1);
      merges_.push_back(absl::StrCat(pair.first, " ", pair.second));
    }
    const std::string unknown = model.str("unk_token", "");
    for (const auto& [token, value] : *vocabulary) {
      const int64_t* id = value.integer();
      if (id == nullptr || *id < 0 || *id > 1 << 24)
        return absl::InvalidArgumentError(
            absl::StrCat("tokenizer.json: the id of \"", token, "\""));
      const auto rank = ranks.find(token);
      const bool byte = pieces_ && token.size() == 6 && absl::StartsWith(token, "<0x");
      place(*id, token, rank == ranks.end() ? (byte ? 0.0 : kAddedScore) : rank->second,
            byte                          ? kByte
            : pieces_ && token == unknown ? kUnknown
                                          : kNormal);
    }
    if (pieces_) space_prefix_ = prepends(file_["normalizer"]) || prepends(file_["pre_tokenizer"]);
    return absl::OkStatus();
  }

  static bool prepends(const Value& part) {
    for (const char* inner : {"normalizers", "pretokenizers"}) {
      for (const Value& one : part[inner].list() != nullptr ? *part[inner].list() : Value::List())
        if (prepends(one)) return true;
    }
    const std::string type = part.str("type", "");
    return type == "Prepend" ||
           (type == "Metaspace" &&
            part.str("prepend_scheme", part.flag("add_prefix_space", true) ? "always" : "never") !=
                "never");
  }

  absl::Status add_one(int64_t id, const Value& token) {
    const std::string text = token.str("content", "");
    if (id < 0 || id > 1 << 24 || text.empty())
      return absl::InvalidArgumentError("an added token has no id or no content");
    const bool unknown = pieces_ && static_cast<size_t>(id) < types_.size() &&
                         types_[static_cast<size_t>(id)] == kUnknown;
    place(id, text, kAddedScore,
          unknown                        ? kUnknown
          : token.flag("special", false) ? kControl
                                         : kUserDefined);
    return absl::OkStatus();
  }

  absl::Status add_added() {
    if (const Value::List* added = file_["added_tokens"].list()) {
      for (const Value& token : *added) SWAGE_RETURN_IF_ERROR(add_one(token.i64("id", -1), token));
    }
    if (const Value::Table* added = settings_["added_tokens_decoder"].table()) {
      for (const auto& [id, token] : *added)
        SWAGE_RETURN_IF_ERROR(add_one(std::strtoll(id.c_str(), nullptr, 10), token));
    }
    return absl::OkStatus();
  }

  void add(const char* name, GgufType type, Value value, GgufType items = GgufType::kU32) {
    keys_.push_back({absl::StrCat("tokenizer.ggml.", name), type, std::move(value), items});
  }

  // From the tokenizer's own files, else from what the model says.
  int64_t special(const char* token, const char* key) const {
    const Value& named = settings_[token];
    const std::string text = named.text() != nullptr ? *named.text() : named.str("content", "");
    const int64_t id = text.empty() ? -1 : tokenizer_->id(text);
    if (id >= 0) return id;
    const Value& stated = config_[key];
    if (stated.list() != nullptr && !stated.list()->empty()) {
      const int64_t* first = stated.list()->front().integer();
      return first != nullptr ? *first : -1;
    }
    return stated.integer() != nullptr ? *stated.integer() : -1;
  }

  absl::Status write() {
    if (const int64_t size = config_.i64("vocab_size", 0); size > 0) {
      if (static_cast<int64_t>(tokens_.size()) > size) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the tokenizer has ", tokens_.size(), " tokens, config.json a vocab_size of ", size));
      }
      if (static_cast<int64_t>(tokens_.size()) < size)
        place(size - 1, absl::StrCat("[PAD", size - 1, "]"), kUnusedScore, kUnused);
    }
    add("model", GgufType::kText, pieces_ ? "llama" : "gpt2");
    std::string name = "default";
    if (!pieces_) {
      SWAGE_ASSIGN_OR_RETURN(const GgufCutter* cutter,
                             gguf_cutter_of(file_, config_.str("model_type", "")));
      name = cutter->name;
    }
    add("pre", GgufType::kText, name);
    add("tokens", GgufType::kArray, Value::List(tokens_.begin(), tokens_.end()), GgufType::kText);
    if (pieces_)
      add("scores", GgufType::kArray, Value::List(scores_.begin(), scores_.end()), GgufType::kF32);
    add("token_type", GgufType::kArray, Value::List(types_.begin(), types_.end()), GgufType::kI32);
    if (!pieces_)
      add("merges", GgufType::kArray, Value::List(merges_.begin(), merges_.end()), GgufType::kText);
    return write_rest();
  }

  absl::Status write_rest() {
    const int64_t bos = special("bos_token", "bos_token_id");
    const int64_t eos = special("eos_token", "eos_token_id");
    for (const auto& [key, id] :
         {std::pair("bos_token_id", bos), std::pair("eos_token_id", eos),
          std::pair("unknown_token_id", special("unk_token", "unk_token_id")),
          std::pair("padding_token_id", special("pad_token", "pad_token_id"))}) {
      if (id >= 0 && id < static_cast<int64_t>(tokens_.size())) add(key, GgufType::kU32, id);
    }
    SWAGE_ASSIGN_OR_RETURN(const std::vector<int64_t> plain, tokenizer_->encode("a", false));
    SWAGE_ASSIGN_OR_RETURN(const std::vector<int64_t> marked, tokenizer_->encode("a", true));
    const size_t extra = marked.size() - plain.size();
    const bool first = extra > 0 && bos >= 0 && marked.front() == bos;
    const bool last = extra > (first ? 1u : 0u) && eos >= 0 && marked.back() == eos;
    if (extra != (first ? 1u : 0u) + (last ? 1u : 0u)) {
      return absl::UnimplementedError(
          "the tokenizer adds other tokens than BOS in front and EOS behind, which GGUF cannot "
          "say");
    }
    add("add_bos_token", GgufType::kBool, first);
    add("add_eos_token", GgufType::kBool, last);
    if (pieces_) add("add_space_prefix", GgufType::kBool, space_prefix_);
    const std::string chat = chat_template();
    if (!chat.empty())
      keys_.push_back({"tokenizer.chat_template", GgufType::kText, chat, GgufType::kU32});
    return absl::OkStatus();
  }

  std::string chat_template() const {
    const std::string file = content("chat_template.jinja");
    if (!file.empty()) return file;
    const Value& stated = settings_["chat_template"];
    if (stated.text() != nullptr) return *stated.text();
    for (const Value& one : stated.list() != nullptr ? *stated.list() : Value::List()) {
      if (one.str("name", "") == "default") return one.str("template", "");
    }
    return "";
  }

  const Value& config_;
  std::map<std::string, const std::string*> files_;
  Value settings_, file_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  bool pieces_ = false, space_prefix_ = true;
  std::vector<std::string> tokens_, merges_;
  std::vector<double> scores_;
  std::vector<int64_t> types_;
  std::vector<GgufKey> keys_;
};

}  // namespace

absl::StatusOr<std::vector<GgufKey>> gguf_tokenizer(const Value& config, const SideFiles& files) {
  return KeyMaker(config, files).run();
}

}  // namespace swage::io
