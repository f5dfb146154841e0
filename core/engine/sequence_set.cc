#include "core/engine/sequence_set.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "swage/result.h"
#include "swage/status.h"

namespace swage {
namespace {

// Products are as fast with 512 rows as with 4096 (docs/performance.md), and small batches stay in
// the cache.
constexpr int64_t kBatchTokens = 512;

int64_t sequences_at_once(const TokenSet& tokens, int64_t micro_batch) {
  if (!tokens.inputs.empty()) return 1;
  if (micro_batch > 0) return micro_batch;
  size_t longest = 1;
  for (const auto& sequence : tokens.sequences) longest = std::max(longest, sequence.size());
  return std::max<int64_t>(1, kBatchTokens / static_cast<int64_t>(longest));
}

}  // namespace

absl::Status check_ids(const TokenSet& tokens, const ModelShape& model) {
  const int64_t vocab_size = model.vocab_size;
  for (size_t i = 0; i < tokens.sequences.size(); ++i) {
    for (size_t j = 0; j < tokens.sequences[i].size(); ++j) {
      const int64_t id = tokens.sequences[i][j];
      if ((id >= 0 && id < vocab_size) || (id >= 0 && id == model.image_token)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "sequence ", i, " has the token id ", id, " at ", j, ", but the model knows 0 to ",
          vocab_size - 1, ": were the ids made with another tokenizer?"));
    }
  }
  return absl::OkStatus();
}

SequenceSet::SequenceSet(TokenSet tokens, int64_t micro_batch, at::Device device)
    : tokens_(std::make_shared<TokenSet>(std::move(tokens))) {
  SWAGE_CHECK(!has_inputs() || tokens_->inputs.size() == tokens_->sequences.size());
  const int64_t at_once = sequences_at_once(*tokens_, micro_batch);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < sequence_count(); i += at_once) {
    Batch batch;
    batch.first = static_cast<int64_t>(ids.size());
    std::vector<at::Tensor> positions;
    for (int64_t j = i; j < std::min(sequence_count(), i + at_once); ++j) {
      const auto& sequence = tokens_->sequences[static_cast<size_t>(j)];
      ids.insert(ids.end(), sequence.begin(), sequence.end());
      batch.lengths.push_back(static_cast<int64_t>(sequence.size()));
      positions.push_back(at::arange(batch.lengths.back(), at::kLong));
    }
    batch.tokens = static_cast<int64_t>(ids.size()) - batch.first;
    batch.positions = at::cat(positions).to(device);
    if (has_inputs()) batch.inputs = &tokens_->inputs[static_cast<size_t>(i)];
    batches_.push_back(std::move(batch));
  }
  ids_ = at::tensor(ids, at::kLong);
}

bool SequenceSet::has_pictures() const {
  const auto& inputs = tokens_->inputs;
  return std::any_of(inputs.begin(), inputs.end(),
                     [](const SequenceInputs& own) { return !own.empty(); });
}

std::string SequenceSet::digest() const {
  std::vector<int64_t> lengths;
  for (const auto& sequence : tokens_->sequences)
    lengths.push_back(static_cast<int64_t>(sequence.size()));
  std::string result = swage::digest(at::cat({ids_, at::tensor(lengths, at::kLong)}));
  for (const SequenceInputs& inputs : tokens_->inputs) {
    for (const auto& [name, tensor] : inputs)
      absl::StrAppend(&result, " ", name, " ", swage::digest(tensor));
  }
  return result;
}

Slots SequenceSet::slots(const Batch& batch) const {
  Slots slots;
  slots.lengths = batch.lengths;
  slots.positions = batch.positions;
  slots[kIds] = ids_.narrow(0, batch.first, batch.tokens);
  return slots;
}

}  // namespace swage
