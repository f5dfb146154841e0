#pragma once
#include "swage/quant/scalar_table.h"

// The small floats of the Open Compute Project, which several formats put under scales of theirs.
namespace swage::format {

inline quant::ScalarTable::Pointer e2m1() { return quant::ScalarTable::floats(2, 1, 1, 6); }
inline quant::ScalarTable::Pointer e2m3() { return quant::ScalarTable::floats(2, 3, 1, 7.5); }
inline quant::ScalarTable::Pointer e3m2() { return quant::ScalarTable::floats(3, 2, 3, 28); }
inline quant::ScalarTable::Pointer e4m3() {
  return quant::ScalarTable::floats(4, 3, 7, 448, c10::ScalarType::Float8_e4m3fn);
}
inline quant::ScalarTable::Pointer e5m2() {
  return quant::ScalarTable::floats(5, 2, 15, 57344, c10::ScalarType::Float8_e5m2);
}

// Floats of so few bits have gaps so wide that a range beyond the extremes may serve them better:
// with 4 in place of 6 at the largest value, e2m1 has no gap of a third right below it. Searches
// begin at this multiple of the range.
constexpr int kFewBits = 4;
constexpr double kExpandedSearch = 1.8;

}  // namespace swage::format
