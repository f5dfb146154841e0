#pragma once
#include <cstdint>

#include "swage/linear.h"

namespace swage {

// How far a linear's result is from the floats that it stands for.
struct RoundingError {
  double relative = 0;  // Frobenius norm of the difference over that of the floats
  int64_t zeroed = 0;   // columns that hold weights, and nothing but zeros in the result
};

// The linear has a result and its float weight still. The same figures for every number of threads.
RoundingError rounding_error(Linear& linear);

}  // namespace swage
