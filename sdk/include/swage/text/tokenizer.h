#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"

namespace swage::text {

// Reads tokenizer.json (BPE with byte-level or Metaspace pre-tokenizers, normalizers, added tokens,
// template post-processors) and gives the ids that the `tokenizers` library gives. Thread-safe
// after creation.
class SWAGE_API Tokenizer {
 public:
  // `config` is tokenizer_config.json ("" = none): its added tokens and BOS/EOS policy count.
  // InvalidArgument names the component that is not supported or malformed.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> create(std::string_view tokenizer_json,
                                                           std::string_view config);
  // The same from tokenizer.model (SentencePiece, BPE), for checkpoints that have no
  // tokenizer.json. Without a configuration that names a class, BOS is added as Llama's class does.
  // Unimplemented names the way out.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> create_from_sentencepiece(
      std::string_view tokenizer_model, std::string_view config);
  ~Tokenizer();

  // `text` must be valid UTF-8 (InvalidArgument names the byte). add_special_tokens: BOS, EOS and
  // what a template adds.
  absl::StatusOr<std::vector<int64_t>> encode(std::string_view text, bool add_special_tokens) const;
  std::string decode(const std::vector<int64_t>& ids, bool skip_special_tokens) const;
  int64_t vocab_size() const;
  // -1 when the tokenizer has no such token.
  int64_t id(std::string_view token) const;

 private:
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace swage::text
