#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "swage/block.h"
#include "swage/evaluator.h"
#include "swage/model.h"

namespace swage {

// Every id is one that the model knows.
absl::Status check_ids(const TokenSet& tokens, const ModelShape& model);

// Token sequences laid end to end and cut into micro-batches of whole sequences. What is computed
// does not depend on the cut. Sequences with images are a micro-batch each.
class SequenceSet {
 public:
  struct Batch {
    int64_t first = 0, tokens = 0;  // rows of the laid out tokens
    std::vector<int64_t> lengths;
    at::Tensor positions;                    // int64 [tokens]
    const SequenceInputs* inputs = nullptr;  // of the one sequence; null: text alone
  };

  SequenceSet() = default;
  // `micro_batch` sequences at once; 0: as many as make about 512 tokens, at least one.
  SequenceSet(TokenSet tokens, int64_t micro_batch, at::Device device);

  const TokenSet& tokens() const { return *tokens_; }
  const at::Tensor& ids() const { return ids_; }  // int64 [token_count]
  int64_t token_count() const { return ids_.defined() ? ids_.size(0) : 0; }
  int64_t sequence_count() const { return static_cast<int64_t>(tokens_->sequences.size()); }
  bool empty() const { return token_count() == 0; }
  const std::vector<Batch>& batches() const { return batches_; }
  bool has_inputs() const { return !tokens_->inputs.empty(); }
  // Does any sequence enter the towers of images? Text alone may stand among pictures.
  bool has_pictures() const;
  std::string digest() const;  // of the ids, where sequences begin, and what else they hold

  // Lengths, positions and kIds of a micro-batch.
  Slots slots(const Batch& batch) const;

 private:
  std::shared_ptr<const TokenSet> tokens_ = std::make_shared<TokenSet>();  // batches point into it
  at::Tensor ids_;
  std::vector<Batch> batches_;
};

}  // namespace swage
