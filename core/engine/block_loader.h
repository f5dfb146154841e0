#pragma once
#include <future>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/opened_model.h"

namespace swage {

// Blocks in order, each read on a thread of its own while the one before is worked on.
class BlockLoader {
 public:
  // From `first` on. The model outlives the loader.
  BlockLoader(const OpenedModel& model, std::vector<BlockId> blocks, size_t first);
  ~BlockLoader();

  // The next block; starts reading the one after it.
  absl::StatusOr<std::shared_ptr<Block>> next();

 private:
  using Loaded = absl::StatusOr<std::shared_ptr<Block>>;
  void start();

  const OpenedModel& model_;
  const std::vector<BlockId> blocks_;
  size_t position_;
  std::future<Loaded> pending_;
};

}  // namespace swage
