#include "core/engine/block_loader.h"

#include <ATen/Parallel.h>
#include <omp.h>

namespace swage {

BlockLoader::BlockLoader(const OpenedModel& model, std::vector<BlockId> blocks, size_t first)
    : model_(model), blocks_(std::move(blocks)), position_(first) {
  start();
}

BlockLoader::~BlockLoader() {
  if (pending_.valid()) pending_.wait();
}

void BlockLoader::start() {
  if (position_ >= blocks_.size()) return;
  pending_ = std::async(std::launch::async, [this, id = blocks_[position_]]() -> Loaded {
    at::get_num_threads();   // LibTorch sets a thread's number when it first asks for it
    omp_set_num_threads(1);  // of this thread: the cores belong to the block that is worked on
    return model_.load_block(id);
  });
}

absl::StatusOr<std::shared_ptr<Block>> BlockLoader::next() {
  Loaded loaded = pending_.get();
  ++position_;
  start();
  return loaded;
}

}  // namespace swage
