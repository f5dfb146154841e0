#pragma once
#include "swage/export.h"

namespace swage {

// While one lives, LibTorch cuts nothing that this thread asks for among threads. Where it cuts a
// function such as a power, or a sum to one number, last bits depend on the cuts: whatever must not
// depend on the number of threads is done in one piece where that is cheap. (c10::ParallelGuard
// only notes where one is; loops do not ask it.)
class SWAGE_API OnePiece {
 public:
  OnePiece();
  ~OnePiece();
  OnePiece(const OnePiece&) = delete;
  OnePiece& operator=(const OnePiece&) = delete;

 private:
  const int threads_;
};

// All threads again, within one: for work whose bits do not depend on them, such as product().
class SWAGE_API AllThreads {
 public:
  AllThreads();
  ~AllThreads();
  AllThreads(const AllThreads&) = delete;
  AllThreads& operator=(const AllThreads&) = delete;

 private:
  const int threads_;
};

// What `work` gives, done in one piece.
template <class Work>
auto in_one_piece(const Work& work) {
  const OnePiece alone;
  return work();
}

}  // namespace swage
