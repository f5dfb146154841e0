#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "swage/export.h"
#include "swage/quant/scalar_table.h"

namespace swage::quant {

// The view of a scalar format's levels that kernels and solvers work on: entry [r, c] decodes to
// (table[code] - zero) · scale + offset with the levels at [r / height, c / width], computed in the
// dtype of `scale` and rounded once to `decoded`.
struct SWAGE_API ScalarGrid {
  ScalarTable::Pointer table;
  at::Tensor scale;   // fp32 or fp64 [ceil(out / height), ceil(in / width)]
  at::Tensor zero;    // the same, or undefined: 0. Integers only
  at::Tensor offset;  // the same, or undefined: 0
  int64_t width = 1, height = 1;
  at::ScalarType decoded = at::kFloat;
};

// Round to nearest. The fast path is vectorised and parallel over rows, for tensors of the CPU;
// encode_plain is written with tensor operations, gives the same codes, and runs on any device.
SWAGE_API at::Tensor encode(const at::Tensor& weight, const ScalarGrid& grid);
SWAGE_API at::Tensor encode_plain(const at::Tensor& weight, const ScalarGrid& grid);
// fp32 (fp64 where the levels are).
SWAGE_API at::Tensor decode(const at::Tensor& codes, const ScalarGrid& grid);
SWAGE_API at::Tensor decode_plain(const at::Tensor& codes, const ScalarGrid& grid);
// decode(encode(w)) in one pass, for searches.
SWAGE_API at::Tensor round_trip(const at::Tensor& weight, const ScalarGrid& grid);

}  // namespace swage::quant
