#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "quant/nearest.h"

// The E8P code of QuIP# (Tseng et al. 2024): vectors of eight half-integers with an even sum, as a
// whole shifted by ±¼. A vector is one of 256 patterns of absolute values, seven free signs and the
// shift; its index holds the pattern in the high byte. In the low byte, a set bit means that the
// coordinate there is negative: bits are in the order of coordinates 0 2 4 6 1 3 5 7, the bit of
// coordinate 7 is the other way round where the pattern's sum is odd. So the signs are even in
// number, and bit 0 is free to tell the shift: it is flipped for -¼.
namespace swage::format::e8p {

constexpr int64_t kColumns = 8;
constexpr int kPatterns = 256;

struct Patterns {
  uint8_t digits[kPatterns][kColumns];  // a value is digit + ½
  uint8_t odd[kPatterns];
  float half_norm[kPatterns];

  quant::SignedPatterns view() const { return {digits, odd, half_norm, kPatterns}; }
};
// 227 of squared norm up to 10 in lexicographic order, then 29 of squared norm 12.
const Patterns& patterns();

// All vectors by index: fp32 [65536, 8].
const at::Tensor& vectors();
// Indices of the nearest vectors, as int16 [rows, columns / 8]; fp32 or fp64. The plain version is
// written in tensor operations, gives the same indices, and runs on any device.
at::Tensor nearest(const at::Tensor& matrix);
at::Tensor nearest_plain(const at::Tensor& matrix);

}  // namespace swage::format::e8p
