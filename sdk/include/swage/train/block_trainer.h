#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/block.h"
#include "swage/codec.h"
#include "swage/export.h"

// Block-wise reconstruction (Li et al. 2021, BRECQ): parameters of a block's weights are learned
// such that its outputs stay those of the float block.
namespace swage::train {

// A linear whose weight is learned.
struct SWAGE_API TrainedLinear {
  Linear* linear = nullptr;
  // The weight [out, in] that the parameters mean as they stand, differentiable in them.
  std::function<absl::StatusOr<at::Tensor>()> weight;
  // The input is quantized this way meanwhile (null: it stays in floats); dynamic schemes only, a
  // static one has no range yet.
  std::shared_ptr<const Codec> activation;
};

struct SWAGE_API Schedule {
  int64_t epochs = 20;             // passes over all sequences, in their order
  int64_t sequences_per_step = 1;  // whose gradients are averaged before the parameters move
  double learning_rate =
      0.01;  // AdamW (Loshchilov and Hutter 2019), betas 0.9 and 0.999, no weight decay
};

struct SWAGE_API Fit {
  double initial = 0,
         best = 0;  // losses over all sequences: before, and of the parameters that were kept
  int64_t best_epoch = 0;   // 0: those before
  bool overflowed = false;  // gradients left the range of fp32, which ended the learning
};

// Learns on the micro-batches `inputs` as they enter the block (BlockContext::inputs()). The target
// is what the float weights make of the same inputs. Trained linears compute with their trial
// weights, the others with their results where they have any. In memory: inputs, targets, the trial
// weights and their gradients, and the activations of one sequence.
//
// The same bytes for every thread count and micro-batch: gradients are those of single sequences,
// added in order, and losses are summed in fp64. The block is left in view kFloat with the weights
// it came with.
class SWAGE_API BlockTrainer {
 public:
  // The block and its linears outlive the object.
  BlockTrainer(Block& block, const std::vector<Slots>& inputs, std::vector<TrainedLinear> linears);
  ~BlockTrainer();
  BlockTrainer(const BlockTrainer&) = delete;
  BlockTrainer& operator=(const BlockTrainer&) = delete;

  // Mean over tokens and channels of the squared difference, with the parameters as they stand.
  absl::StatusOr<double> loss();
  // Moves `parameters` (leaves that require gradients) and leaves in them the values of the start
  // or of the end of an epoch, whichever has the least loss: never worse than before. Stops early
  // where a loss or a gradient is not finite. InvalidArgument: the float block's own outputs are
  // not finite.
  absl::StatusOr<Fit> fit(const std::vector<at::Tensor>& parameters, const Schedule& schedule);

 private:
  struct Sequence {
    Slots input;
    at::Tensor target;  // [tokens, hidden]
  };
  class TrialWeights;

  absl::Status step(size_t first, size_t count);

  Block& block_;
  const std::vector<TrainedLinear> linears_;
  std::vector<Sequence> sequences_;
  int64_t elements_ = 0;  // of all targets
};

}  // namespace swage::train
