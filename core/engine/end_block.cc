#include "core/engine/end_block.h"

#include <stdexcept>

namespace swage {
namespace {

constexpr const char* kInput = "head.input";

}  // namespace

EndBlock::EndBlock(std::shared_ptr<Embedding> embedding)
    : Block({kEmbeddingBlock, 0}), embedding_(std::move(embedding)) {
  take(*embedding_->linear(), "the embedding reads ids");
}

EndBlock::EndBlock(std::shared_ptr<Head> head) : Block({kHeadBlock, 0}), head_(std::move(head)) {
  take(*head_->linear(), "what is in front of the head takes no scale");
}

// Tensors are shared; the object is this block's own, as a watched block asks for.
void EndBlock::take(const Linear& linear, const char* why_no_fold) {
  linears_.push_back(linear);
  Subset subset;
  subset.name = id().tower;
  subset.input = kInput;
  subset.linears = {&linears_.front()};
  subset.fold.why_none = why_no_fold;
  subsets_.push_back(std::move(subset));
}

void EndBlock::give_back() {
  (embedding_ ? *embedding_->linear() : *head_->linear()) = linears_.front();
}

void EndBlock::run_stage(int64_t stage, Slots& slots) {
  if (head_ == nullptr) throw std::logic_error("the embedding is no block that can be run");
  if (stage == 0) {
    slots[kInput] = head_->normalize(slots.at(kHidden));
  } else {
    slots[kHidden] = linears_.front().apply(slots.take(kInput));
  }
}

at::Tensor EndBlock::inspect(int64_t subset, const Slots& slots) {
  return linears_.front().apply(slots.at(kInput));
}

}  // namespace swage
