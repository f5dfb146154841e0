#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace swage::solve {

// H = R Rᵀ in place: the upper triangle of `h` (fp32 or fp64, contiguous) becomes the upper
// triangular R, the rest zero. Tiles of fixed size: each diagonal tile is factored by one thread in
// fp64, everything else is matrix products, so the bytes do not depend on the number of threads.
// False when a pivot is not positive; `h` is then spoilt.
bool reverse_cholesky(at::Tensor& h);

// Inverse [n, n] of an upper triangular tile.
void invert_tile(const double* r, int64_t n, double* inverse);
// The same of a tensor on any device, in its dtype.
at::Tensor inverse_of_tile(const at::Tensor& r);

}  // namespace swage::solve
