#pragma once
#include <memory>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/model.h"

namespace swage {

// Blocks of one linear, at the ends of a model.
inline constexpr const char* kEmbeddingBlock = "embedding";
inline constexpr const char* kHeadBlock = "head";
inline bool is_end(const BlockId& id) {
  return id.tower == kEmbeddingBlock || id.tower == kHeadBlock;
}
inline LinearPlace place_of(const BlockId& id) {
  if (!is_end(id)) return LinearPlace::kBlock;
  return id.tower == kHeadBlock ? LinearPlace::kHead : LinearPlace::kEmbedding;
}

// Embedding or head as a block that steps work on. The one of a head stands behind the last block
// of the language tower and ends in scores of the vocabulary; that of an embedding has no input,
// and none of its stages can be run.
class EndBlock final : public Block {
 public:
  // A fault of the plugin: the end makes no linear.
  static absl::StatusOr<std::unique_ptr<EndBlock>> make(std::shared_ptr<Embedding> embedding);
  static absl::StatusOr<std::unique_ptr<EndBlock>> make(std::shared_ptr<Head> head);

  Linear& linear() { return linears_.front(); }
  // The end computes with the linear as it is here now.
  void give_back() { of_end_ = linears_.front(); }
  Linear& of_end() { return of_end_; }

  void run_stage(int64_t stage, Slots& slots) override;
  at::Tensor inspect(int64_t subset, const Slots& slots) override;

 private:
  EndBlock(const char* name, Linear& linear, std::shared_ptr<Embedding> embedding,
           std::shared_ptr<Head> head, const char* why_no_fold);
  const std::shared_ptr<Embedding> embedding_;
  const std::shared_ptr<Head> head_;  // one of them
  Linear& of_end_;
};

}  // namespace swage
