#pragma once
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/engine/token_stream.h"
#include "swage/algorithm.h"

namespace swage {

// The activations of one stream on their way through one block: every micro-batch stands behind the
// same stage.
class StageWalk {
 public:
  // The stream's hidden states are read, not changed. All references outlive the walk.
  // `experts_seen`: Slots::experts_seen of the walk.
  StageWalk(Block& block, const TokenStream& stream, View view, const std::string& adapter,
            int64_t experts_seen);

  absl::Status run_stage(int64_t stage);
  // From the block's input once more, through `stage`: what lies before has changed.
  absl::Status restart(int64_t stage);
  // Statistics of the subset's input, and the sample that a search compares on.
  absl::StatusOr<SubsetStats> measure(const Subset& subset, const Needs& needs) const;
  // After a fold: the input becomes x / scale, and `stats` those of the new input.
  void divide_input(const Subset& subset, const at::Tensor& scale, SubsetStats& stats);
  // The micro-batches as they enter the block.
  const std::vector<Slots>& batches() const { return batches_; }
  // After the last stage: hidden states behind the block, in the order of the stream's tokens.
  std::vector<Slots> take_output();

 private:
  Slots sample(int64_t tokens) const;
  void enter();

  Block& block_;
  const TokenStream& stream_;
  const int64_t experts_seen_;
  const View view_;
  const std::string& adapter_;
  std::vector<Slots> batches_;
};

}  // namespace swage
