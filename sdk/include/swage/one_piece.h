#pragma once
#include <c10/util/ParallelGuard.h>

namespace swage {

// What `work` gives, done on this thread alone. Where LibTorch cuts a function such as a power, or
// a sum to one number, among threads, last bits depend on the cuts: whatever must not depend on the
// number of threads is done in one piece where that is cheap.
template <class Work>
auto in_one_piece(const Work& work) {
  const c10::ParallelGuard alone(true);
  return work();
}

}  // namespace swage
