#pragma once
#include <array>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"
#include "vocabulary.h"

namespace swage::text {

// Byte-pair encoding of one piece after the other (Sennrich et al. 2016), as "model" of
// tokenizer.json describes it.
class Bpe {
 public:
  static absl::StatusOr<std::unique_ptr<Bpe>> create(const Value& model);

  // Scratch memory of one encoding, and what short pieces gave before.
  struct Workspace {
    struct Symbol {
      int64_t id;
      int64_t previous, next;  // -1: none
      bool alive;
    };
    struct Candidate {
      int32_t rank;
      int64_t position;
      int64_t id;  // of the merged symbol
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
    std::deque<std::string> keys;
    std::unordered_map<std::string_view, std::pair<size_t, size_t>>
        seen;  // piece -> range in the ids
  };
  // Appends the ids of the piece. One workspace serves one vector of ids only.
  void encode(std::string_view piece, Workspace* work, std::vector<int64_t>* ids) const;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  struct Merge {
    int32_t rank;
    int64_t id;
  };
  absl::Status read_vocabulary(const Value& model);
  absl::Status read_merges(const Value::List& merges);
  absl::Status add_merge(std::string_view left, std::string_view right, int32_t rank);
  bool words_are_separable() const;
  void encode_word(std::string_view word, Workspace* work, std::vector<int64_t>* ids) const;
  void add_symbols(std::string_view word, Workspace* work) const;
  bool add_bytes(std::string_view character, Workspace* work) const;
  void offer(int64_t left, int64_t right, Workspace* work) const;
  void merge_symbols(Workspace* work) const;

  Vocabulary vocabulary_;
  std::unordered_map<uint64_t, Merge> merges_;
  std::array<int64_t, 256> byte_ids_;
  std::string prefix_, suffix_;  // continuing_subword_prefix, end_of_word_suffix
  int64_t unknown_ = -1;
  bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false, separable_ = false;
};

}  // namespace swage::text
