#include "swage/quant/scalar_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "swage/status.h"

namespace swage::quant {
namespace {

constexpr float kUnused = std::numeric_limits<float>::quiet_NaN();

// The largest float that a number has to exceed in order to exceed `edge` (or, with kUp, to reach
// it): comparing floats with it decides as comparing with the edge itself does.
float float_edge(double edge, ScalarTable::Tie tie) {
  auto nearest = static_cast<float>(edge);
  const bool above = static_cast<double>(nearest) > edge;
  const bool reached = static_cast<double>(nearest) == edge && tie == ScalarTable::Tie::kUp;
  return above || reached ? std::nextafter(nearest, -std::numeric_limits<float>::infinity())
                          : nearest;
}

double double_edge(double edge, ScalarTable::Tie tie) {
  return tie == ScalarTable::Tie::kUp
             ? std::nextafter(edge, -std::numeric_limits<double>::infinity())
             : edge;
}

}  // namespace

ScalarTable::ScalarTable() { std::fill(std::begin(values_), std::end(values_), kUnused); }

ScalarTable::Pointer ScalarTable::integers(int low, int high) {
  SWAGE_CHECK(low >= -128 && low < high && high <= 127);
  auto* table = new ScalarTable;
  table->kind_ = Kind::kIntegers;
  table->bits_ = 1;
  while ((1 << table->bits_) < high - low + 1) ++table->bits_;
  for (int code = low; code <= high; ++code)
    table->values_[static_cast<uint8_t>(static_cast<int8_t>(code))] = static_cast<float>(code);
  table->sort(Tie::kDown);
  return Pointer(table);
}

ScalarTable::Pointer ScalarTable::floats(int exponent_bits, int mantissa_bits, int bias,
                                         double maximum, c10::ScalarType type) {
  const int magnitude_bits = exponent_bits + mantissa_bits;
  SWAGE_CHECK(mantissa_bits >= 1 && mantissa_bits <= 3 && magnitude_bits <= 7);
  auto* table = new ScalarTable;
  table->kind_ = Kind::kFloats;
  table->type_ = type;
  table->bits_ = 1 + magnitude_bits;
  table->mantissa_bits_ = mantissa_bits;
  table->bias_ = bias;
  for (int code = 0; code < 1 << magnitude_bits; ++code) {
    const int exponent = code >> mantissa_bits, mantissa = code & ((1 << mantissa_bits) - 1);
    const double value = exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                       : std::ldexp(mantissa + (1 << mantissa_bits),
                                                    exponent - bias - mantissa_bits);
    if (value > maximum) continue;
    table->values_[code] = static_cast<float>(value);
    table->values_[code | 1 << magnitude_bits] = static_cast<float>(-value);
  }
  table->sort(Tie::kDown);
  return Pointer(table);
}

ScalarTable::Pointer ScalarTable::values(const std::vector<float>& by_code, Tie tie) {
  SWAGE_CHECK(by_code.size() >= 2 && by_code.size() <= 256);
  auto* table = new ScalarTable;
  table->kind_ = Kind::kValues;
  table->type_ = c10::ScalarType::Byte;
  table->bits_ = 1;
  while (size_t{1} << table->bits_ < by_code.size()) ++table->bits_;
  std::copy(by_code.begin(), by_code.end(), table->values_);
  table->sort(tie);
  return Pointer(table);
}

void ScalarTable::sort(Tie tie) {
  std::map<float, uint8_t> order;  // zero and minus zero are one
  for (int code = 0; code < 256; ++code) {
    if (!std::isnan(values_[code])) order.emplace(values_[code], static_cast<uint8_t>(code));
  }
  SWAGE_CHECK(order.size() >= 2);
  for (const auto& [value, code] : order) {
    if (!sorted_.empty()) {
      const double edge = (static_cast<double>(sorted_.back()) + static_cast<double>(value)) / 2;
      edges_.push_back(float_edge(edge, tie));
      exact_edges_.push_back(double_edge(edge, tie));
    }
    sorted_.push_back(value);
    codes_.push_back(code);
  }
}

uint8_t ScalarTable::code_of(double value) const {
  if (std::isnan(value)) return codes_.front();  // what it decodes to has no meaning either
  if (kind_ == Kind::kIntegers) {
    const double code =
        std::min<double>(std::max<double>(std::nearbyint(value), least()), greatest());
    return static_cast<uint8_t>(static_cast<int8_t>(code));
  }
  if (kind_ == Kind::kValues) {
    const auto above = std::lower_bound(exact_edges_.begin(), exact_edges_.end(), value);
    return codes_[static_cast<size_t>(above - exact_edges_.begin())];
  }
  const double size = std::min<double>(std::abs(value), greatest());
  const int least_exponent = 1 - bias_;
  const int exponent = size > 0 ? std::max(std::ilogb(size), least_exponent) : least_exponent;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(size, mantissa_bits_ - exponent)),
                                    exponent - mantissa_bits_);
  int code;
  if (rounded < std::ldexp(1.0, least_exponent)) {
    code = static_cast<int>(std::ldexp(rounded, mantissa_bits_ - least_exponent));
  } else {
    const int final_exponent = std::ilogb(rounded);
    code = ((final_exponent + bias_ - 1) << mantissa_bits_) +
           static_cast<int>(std::ldexp(rounded, mantissa_bits_ - final_exponent));
  }
  return static_cast<uint8_t>(code | (std::signbit(value) ? 1 << (bits_ - 1) : 0));
}

uint8_t ScalarTable::code_of(float value) const {
  if (kind_ != Kind::kValues) return code_of(static_cast<double>(value));
  const auto above = std::lower_bound(edges_.begin(), edges_.end(), value);
  return codes_[static_cast<size_t>(above - edges_.begin())];
}

}  // namespace swage::quant
