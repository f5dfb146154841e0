#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"

namespace swage::text {

// What tokenizer.model (a protobuf message ModelProto of SentencePiece) says of its vocabulary.
struct SentencePiece {
  enum class Type { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
  };
  std::vector<Piece> pieces;  // by id
  int64_t model_type = 1;     // 1: unigram, 2: BPE
  bool byte_fallback = false;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
  std::string rule;          // name of the normalization, when it has a table of characters
  int64_t bos = 1, eos = 2;  // -1: none
};

absl::StatusOr<SentencePiece> read_sentencepiece(std::string_view file);

// The same tokenizer as tokenizer.json would hold it: merges are all pairs of pieces that make a
// piece, best score first. `config` is tokenizer_config.json; with "legacy": false a word mark goes
// in front of the text only, else in front of every stretch between added tokens. The
// post-processor is left to the policy of the configuration. Unimplemented: other models than BPE,
// normalizations.
absl::StatusOr<Value> tokenizer_of(const SentencePiece& model, const Value& config);

// The configuration with what it lacks: BOS, EOS and the class that adds BOS.
Value completed(const SentencePiece& model, Value config);

}  // namespace swage::text
