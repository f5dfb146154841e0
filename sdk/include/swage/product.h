#pragma once
#include <ATen/core/Tensor.h>

#include "swage/export.h"

// Matrix products of the hot paths. On the CPU fp32 products go to oneDNN, which uses the full
// vector width on every maker's processors (docs/decisions/onednn-products.md); everything else,
// and all that needs a gradient, goes to ATen. A row of the result does not depend on how many rows
// are computed together, nor on the number of threads.
namespace swage {

// a [m, k] · b [k, n] -> [m, n].
SWAGE_API at::Tensor product(const at::Tensor& a, const at::Tensor& b);
// Whether product() takes the fast path: fp32 matrices on the CPU, none of which asks for a
// gradient.
SWAGE_API bool fast_product_fits(const at::Tensor& a, const at::Tensor& b);
// out += alpha · a b, in place; `out` may be a view whose rows are apart, but whose columns are
// not.
SWAGE_API void add_product(at::Tensor out, const at::Tensor& a, const at::Tensor& b,
                           double alpha = 1);

}  // namespace swage
