#pragma once
#include <cstdint>

#include "swage/linear.h"

namespace swage {

// How far a linear's result is from the floats that it stands for.
struct RoundingError {
  double relative = 0;      // Frobenius norm of the difference over that of the floats
  int64_t zeroed = 0;       // columns that hold weights, and nothing but zeros in the result
  int64_t zeroed_rows = 0;  // likewise
  double largest_lost = 0;  // magnitude of a weight in such rows
  bool was_zero = false;    // no weight but 0 came in
  bool is_zero = false;     // no weight but 0 is left
};

// The linear has a result and its float weight still. The same figures for every number of threads.
RoundingError rounding_error(Linear& linear);

}  // namespace swage
