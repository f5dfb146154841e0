#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "swage/block.h"
#include "swage/evaluator.h"

namespace swage {

// Every id is one that a model with so many knows.
absl::Status check_ids(const TokenSet& tokens, int64_t vocab_size);

// Token sequences laid end to end and cut into micro-batches of whole sequences. What is computed
// does not depend on the cut.
class SequenceSet {
 public:
  struct Batch {
    int64_t first = 0, tokens = 0;  // rows of the laid out tokens
    std::vector<int64_t> lengths;
    at::Tensor positions;  // int64 [tokens]
  };

  SequenceSet() = default;
  // `micro_batch` sequences at once; 0: as many as make about 512 tokens, at least one.
  SequenceSet(TokenSet tokens, int64_t micro_batch, at::Device device);

  const TokenSet& tokens() const { return tokens_; }
  const at::Tensor& ids() const { return ids_; }  // int64 [token_count]
  int64_t token_count() const { return ids_.defined() ? ids_.size(0) : 0; }
  int64_t sequence_count() const { return static_cast<int64_t>(tokens_.sequences.size()); }
  bool empty() const { return token_count() == 0; }
  const std::vector<Batch>& batches() const { return batches_; }
  std::string digest() const;  // of the ids and where sequences begin

  // A micro-batch without any slot but its hidden states, a view of `hidden` [token_count, size].
  Slots slots(const Batch& batch, const at::Tensor& hidden) const;

 private:
  TokenSet tokens_;
  at::Tensor ids_;
  std::vector<Batch> batches_;
};

}  // namespace swage
