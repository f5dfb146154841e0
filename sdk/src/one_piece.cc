#include "swage/one_piece.h"

#include <omp.h>

namespace swage {
namespace {

thread_local int pieces = 0;       // how many objects live on this thread
thread_local int all_threads = 0;  // what it had before the first of them

}  // namespace

OnePiece::OnePiece() : threads_(omp_get_max_threads()) {
  if (pieces++ == 0) all_threads = threads_;
  omp_set_num_threads(1);
}

OnePiece::~OnePiece() {
  --pieces;
  omp_set_num_threads(threads_);
}

AllThreads::AllThreads() : threads_(omp_get_max_threads()) {
  if (pieces > 0) omp_set_num_threads(all_threads);
}

AllThreads::~AllThreads() { omp_set_num_threads(threads_); }

}  // namespace swage
