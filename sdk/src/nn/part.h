#pragma once
#include <string>
#include <vector>

#include "nn/block_reader.h"
#include "swage/block.h"

namespace swage::nn {

// Scales of what a norm gives go into its weight.
inline FoldTarget fold_into(const Norm& norm) {
  FoldTarget target;
  if (norm.weight == nullptr) {
    target.why_none = "the norm in front has no weight";
    return target;
  }
  target.kind = FoldTarget::Kind::kNorm;
  target.norm_weight = norm.weight;
  target.norm_bias = norm.bias;
  target.norm_offset = is_offset(norm.kind);
  return target;
}

// What stands between the residual stream and itself: attention or an MLP of some kind. A part has
// subsets in order; the block, which owns linears and parameters, puts the input of the first into
// its slot.
class Part {
 public:
  virtual ~Part() = default;

  // Called when the input of the first subset is in its slot.
  virtual void prepare(Slots& slots) const {}

  // From the input of subset `index` in its slot: puts that of the next one into its slot, or
  // returns the part's output (a tensor of its own) where `index` is the last. Drops slots that
  // nothing reads any more.
  virtual at::Tensor run(size_t index, Slots& slots) const = 0;

  // The part's output from the input of subset `index` on; the slots stay as they are.
  at::Tensor output(size_t index, const Slots& slots) const {
    Slots scratch = slots;
    at::Tensor result;
    for (; index < subsets.size(); ++index) result = run(index, scratch);
    return result;
  }

  // Of an attention; other parts have none.
  virtual KeySites key_sites() const {
    KeySites sites;
    sites.why_none = "its keys are not rows of one projection for each head";
    return sites;
  }

  std::vector<Linear*> writers;  // linears whose outputs add up to the part's
  bool shares_input = false;     // another part reads the first input after this one
  std::vector<Subset> subsets;   // names, inputs, linears, folds; the block sets the first fold

 protected:
  const std::string& input() const { return subsets.front().input; }
  void drop_input(Slots& slots) const {
    if (!shares_input) slots.erase(input());
  }
};

}  // namespace swage::nn
