#include "sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <unordered_map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "protobuf.h"
#include "swage/status.h"
#include "unicode.h"

namespace swage::text {
namespace {

using Type = SentencePiece::Type;

// Of one piece; published ones have some dozens. Every place in a piece is tried as a merge.
constexpr size_t kMaxPieceBytes = 512;

absl::Status read_piece(std::string_view message, SentencePiece* model) {
  SentencePiece::Piece piece;
  SWAGE_RETURN_IF_ERROR(visit_fields(message, [&](const WireField& field) {
    if (field.number == 1) piece.text = field.bytes;
    if (field.number == 2) {
      const auto bits = static_cast<uint32_t>(field.value);
      std::memcpy(&piece.score, &bits, sizeof(bits));
    }
    if (field.number == 3) piece.type = static_cast<Type>(field.value);
    return absl::OkStatus();
  }));
  const bool sound = !piece.text.empty() && piece.text.size() <= kMaxPieceBytes &&
                     find_bad_utf8(piece.text) == kValidUtf8 && !std::isnan(piece.score) &&
                     piece.type >= Type::kNormal && piece.type <= Type::kByte;
  if (!sound) {
    return absl::InvalidArgumentError(
        absl::StrCat("piece ", model->pieces.size(), " is empty, longer than ", kMaxPieceBytes,
                     " bytes, no UTF-8, or has no score or no known type"));
  }
  model->pieces.push_back(std::move(piece));
  return absl::OkStatus();
}

absl::Status read_trainer(std::string_view message, SentencePiece* model) {
  return visit_fields(message, [&](const WireField& field) {
    if (field.number == 3) model->model_type = static_cast<int64_t>(field.value);
    if (field.number == 35) model->byte_fallback = field.value != 0;
    if (field.number == 41) model->bos = static_cast<int64_t>(field.value);
    if (field.number == 42) model->eos = static_cast<int64_t>(field.value);
    return absl::OkStatus();
  });
}

absl::Status read_normalizer(std::string_view message, SentencePiece* model) {
  std::string name;
  bool has_table = false;
  SWAGE_RETURN_IF_ERROR(visit_fields(message, [&](const WireField& field) {
    if (field.number == 1) name = field.bytes;
    if (field.number == 2) has_table = !field.bytes.empty();
    if (field.number == 3) model->add_dummy_prefix = field.value != 0;
    if (field.number == 4) model->remove_extra_whitespaces = field.value != 0;
    if (field.number == 5) model->escape_whitespaces = field.value != 0;
    return absl::OkStatus();
  }));
  if (has_table) model->rule = name.empty() ? "user_defined" : name;
  return absl::OkStatus();
}

// All pairs of normal pieces that make a normal piece, in the order in which they merge.
Value merges_of(const SentencePiece& model) {
  std::unordered_map<std::string_view, int64_t> ids;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (model.pieces[id].type == Type::kNormal)
      ids.emplace(model.pieces[id].text, static_cast<int64_t>(id));
  }
  std::vector<std::tuple<float, int64_t, std::string_view, std::string_view>> ranked;
  for (const auto& [text, id] : ids) {
    size_t at = 0;
    for (next_char(text, &at); at < text.size(); next_char(text, &at)) {
      const std::string_view left = text.substr(0, at), right = text.substr(at);
      if (ids.count(left) > 0 && ids.count(right) > 0)
        ranked.emplace_back(-model.pieces[static_cast<size_t>(id)].score, id, left, right);
    }
  }
  std::sort(ranked.begin(), ranked.end());
  Value::List merges;
  merges.reserve(ranked.size());
  for (const auto& [score, id, left, right] : ranked)
    merges.emplace_back(Value::List{std::string(left), std::string(right)});
  return merges;
}

Value replacement(const char* kind, const char* pattern, const char* content) {
  return Value::Table{
      {"type", "Replace"}, {"pattern", Value::Table{{kind, pattern}}}, {"content", content}};
}

Value chain(const char* key, Value::List steps) {
  return Value::Table{{"type", "Sequence"}, {key, std::move(steps)}};
}

Value normalizer_of(const SentencePiece& model, bool legacy) {
  Value::List steps;
  if (model.remove_extra_whitespaces) {
    steps.push_back(replacement("Regex", "\\A +|[ ▁]+\\z", ""));
    steps.push_back(replacement("Regex", " {2,}", " "));
  }
  if (model.add_dummy_prefix && legacy)
    steps.push_back(Value::Table{{"type", "Prepend"}, {"prepend", "▁"}});
  if (model.escape_whitespaces && (legacy || !model.add_dummy_prefix))
    steps.push_back(replacement("String", " ", "▁"));
  return chain("normalizers", std::move(steps));
}

Value decoder_of(const SentencePiece& model) {
  Value::List steps = {replacement("String", "▁", " "), Value::Table{{"type", "ByteFallback"}},
                       Value::Table{{"type", "Fuse"}}};
  if (model.add_dummy_prefix) {
    steps.push_back(Value::Table{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return chain("decoders", std::move(steps));
}

// One of the pieces that stand whole in the normalized text, longest first; "" without such pieces.
std::string user_defined_pattern(const SentencePiece& model) {
  std::vector<std::string_view> pieces;
  for (const SentencePiece::Piece& piece : model.pieces) {
    if (piece.type == Type::kUserDefined) pieces.push_back(piece.text);
  }
  std::sort(pieces.begin(), pieces.end(), [](std::string_view a, std::string_view b) {
    return a.size() != b.size() ? a.size() > b.size() : a < b;
  });
  std::string pattern;
  for (const std::string_view piece : pieces) {
    if (!pattern.empty()) pattern += '|';
    for (const char c : piece) {
      if (absl::ascii_ispunct(static_cast<unsigned char>(c))) pattern += '\\';
      pattern += c;
    }
  }
  return pattern;
}

Value pre_tokenizer_of(const SentencePiece& model, bool legacy) {
  Value::List steps;
  if (model.add_dummy_prefix && !legacy) {
    steps.push_back(Value::Table{{"type", "Metaspace"},
                                 {"replacement", "▁"},
                                 {"prepend_scheme", "first"},
                                 {"split", false}});
  }
  if (const std::string pattern = user_defined_pattern(model); !pattern.empty()) {
    steps.push_back(Value::Table{{"type", "Split"},
                                 {"pattern", Value::Table{{"Regex", pattern}}},
                                 {"behavior", "Isolated"}});
  }
  return chain("pretokenizers", std::move(steps));
}

Value added_tokens_of(const SentencePiece& model) {
  Value::List added;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Type type = model.pieces[id].type;
    if (type != Type::kControl && type != Type::kUnknown) continue;
    added.push_back(Value::Table{{"id", static_cast<int64_t>(id)},
                                 {"content", model.pieces[id].text},
                                 {"normalized", false},
                                 {"special", true}});
  }
  return added;
}

absl::StatusOr<Value> model_of(const SentencePiece& model) {
  Value::Table vocabulary;
  Value unknown;
  bool has_whole_pieces = false;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece::Piece& piece = model.pieces[id];
    if (!vocabulary.emplace(piece.text, static_cast<int64_t>(id)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("the piece \"", piece.text, "\" stands there twice"));
    }
    if (piece.type == Type::kUnknown) unknown = piece.text;
    has_whole_pieces |= piece.type == Type::kUserDefined;
  }
  return Value(Value::Table{{"type", "BPE"},
                            {"unk_token", std::move(unknown)},
                            {"fuse_unk", true},
                            {"byte_fallback", model.byte_fallback},
                            {"ignore_merges", has_whole_pieces},
                            {"vocab", std::move(vocabulary)},
                            {"merges", merges_of(model)}});
}

}  // namespace

absl::StatusOr<SentencePiece> read_sentencepiece(std::string_view file) {
  SentencePiece model;
  SWAGE_RETURN_IF_ERROR(visit_fields(file, [&](const WireField& field) {
    if (field.number == 1) return read_piece(field.bytes, &model);
    if (field.number == 2) return annotate(read_trainer(field.bytes, &model), "trainer_spec");
    if (field.number == 3) return annotate(read_normalizer(field.bytes, &model), "normalizer_spec");
    return absl::OkStatus();
  }));
  if (model.pieces.empty()) return absl::InvalidArgumentError("the file holds no pieces");
  return model;
}

absl::StatusOr<Value> tokenizer_of(const SentencePiece& model, const Value& config) {
  constexpr const char* kWayOut =
      "; save the tokenizer as tokenizer.json "
      "(AutoTokenizer.from_pretrained(…).save_pretrained(…))";
  if (model.model_type != 2) {
    return absl::UnimplementedError(
        absl::StrCat("the model is ", model.model_type == 1 ? "unigram" : "neither unigram nor BPE",
                     ", expected BPE", kWayOut));
  }
  if (!model.rule.empty()) {
    return absl::UnimplementedError(
        absl::StrCat("the normalization \"", model.rule, "\" is not read", kWayOut));
  }
  const bool legacy = config.flag("legacy", true);
  SWAGE_ASSIGN_OR_RETURN(Value bpe, model_of(model));
  return Value(Value::Table{{"added_tokens", added_tokens_of(model)},
                            {"normalizer", normalizer_of(model, legacy)},
                            {"pre_tokenizer", pre_tokenizer_of(model, legacy)},
                            {"decoder", decoder_of(model)},
                            {"model", std::move(bpe)}});
}

Value completed(const SentencePiece& model, Value config) {
  Value::Table& table = *config.table();
  const auto set = [&](const char* key, Value value) {
    if (!config.has(key)) table[key] = std::move(value);
  };
  const auto piece = [&](int64_t id) -> const SentencePiece::Piece* {
    return id >= 0 && id < static_cast<int64_t>(model.pieces.size())
               ? &model.pieces[static_cast<size_t>(id)]
               : nullptr;
  };
  set("tokenizer_class", "LlamaTokenizer");
  if (const auto* bos = piece(model.bos)) set("bos_token", bos->text);
  if (const auto* eos = piece(model.eos)) set("eos_token", eos->text);
  if (!config.has("bos_token")) set("add_bos_token", false);
  return config;
}

}  // namespace swage::text
