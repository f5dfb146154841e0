#include "swage/one_piece.h"

#include <omp.h>

namespace swage {

OnePiece::OnePiece() : threads_(omp_get_max_threads()) { omp_set_num_threads(1); }

OnePiece::~OnePiece() { omp_set_num_threads(threads_); }

}  // namespace swage
