#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace swage::transform {

// A Hadamard matrix with entries ±1 as Sylvester's [runs, runs] ⊗ core, its first row and column 1.
struct HadamardParts {
  int64_t runs = 1;  // a power of two
  at::Tensor core;   // fp64 [n / runs, n / runs], of one of Paley's constructions
};
// That of width n with the smallest core, at most `widest_core` wide; none where there is no such.
std::optional<HadamardParts> hadamard_parts(int64_t n, int64_t widest_core);

}  // namespace swage::transform
