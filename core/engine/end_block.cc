#include "core/engine/end_block.h"

#include <stdexcept>

#include "core/engine/loaded_check.h"
#include "swage/call_site.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr const char* kInput = "head.input";

absl::Status check(const Linear* linear) {
  return linear != nullptr ? check_end(*linear) : plugin_fault("linear() gives null");
}

}  // namespace

absl::StatusOr<std::unique_ptr<EndBlock>> EndBlock::make(std::shared_ptr<Embedding> embedding) {
  Linear* const linear = embedding->linear();
  SWAGE_RETURN_IF_ERROR(check(linear));
  return std::unique_ptr<EndBlock>(new EndBlock(kEmbeddingBlock, *linear, std::move(embedding),
                                                nullptr, "the embedding reads ids"));
}

absl::StatusOr<std::unique_ptr<EndBlock>> EndBlock::make(std::shared_ptr<Head> head) {
  Linear* const linear = head->linear();
  SWAGE_RETURN_IF_ERROR(check(linear));
  return std::unique_ptr<EndBlock>(new EndBlock(kHeadBlock, *linear, nullptr, std::move(head),
                                                "what is in front of the head takes no scale"));
}

// The block's own object shares the tensors: steps and whoever watches them look for it here.
EndBlock::EndBlock(const char* name, Linear& linear, std::shared_ptr<Embedding> embedding,
                   std::shared_ptr<Head> head, const char* why_no_fold)
    : Block({name, 0}), embedding_(std::move(embedding)), head_(std::move(head)), of_end_(linear) {
  linears_.push_back(linear);
  Subset subset;
  subset.name = name;
  subset.input = kInput;
  subset.linears = {&linears_.front()};
  subset.fold.why_none = why_no_fold;
  subsets_.push_back(std::move(subset));
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
