#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "swage/export.h"

namespace swage::quant {

// The values of a scalar format: at most 256, one for each code of a byte, and which of them is
// nearest to a number. Immutable.
class SWAGE_API ScalarTable {
 public:
  using Pointer = std::shared_ptr<const ScalarTable>;
  enum class Kind { kIntegers, kFloats, kValues };
  // Where a number lies right between two values.
  enum class Tie { kDown, kUp };

  // Integers low … high, int8 codes; halves round to even.
  static Pointer integers(int low, int high);
  // A sign, `exponent_bits`, `mantissa_bits` (1 to 3), subnormals; the largest value is `maximum`,
  // greater ones saturate, and no code that decodes beyond it occurs. Halves round to even. Codes
  // are raw bits, in tensors of `type` (one byte).
  static Pointer floats(int exponent_bits, int mantissa_bits, int bias, double maximum,
                        c10::ScalarType type = c10::ScalarType::Byte);
  // Any finite values by code, at least two; equal ones go to the first code. NaN: an unused code.
  static Pointer values(const std::vector<float>& by_code, Tie tie = Tie::kDown);

  Kind kind() const { return kind_; }
  c10::ScalarType type() const { return type_; }  // of tensors of codes
  int bits() const { return bits_; }              // a code takes
  // By byte; NaN where no value has this code.
  const float* values() const { return values_; }
  float least() const { return sorted_.front(); }
  float greatest() const { return sorted_.back(); }

  // kFloats: what kernels compute codes by.
  int mantissa_bits() const { return mantissa_bits_; }
  int bias() const { return bias_; }
  // kFloats and kValues: values in ascending order without equals, their codes, and for each pair
  // of neighbours the number above which the upper one is taken (as float and as double).
  const std::vector<float>& sorted() const { return sorted_; }
  const std::vector<uint8_t>& codes() const { return codes_; }
  const std::vector<float>& edges() const { return edges_; }
  const std::vector<double>& exact_edges() const { return exact_edges_; }

  // The code nearest to a number that is not NaN.
  uint8_t code_of(float value) const;
  uint8_t code_of(double value) const;

 private:
  ScalarTable();
  void sort(Tie tie);

  Kind kind_ = Kind::kIntegers;
  c10::ScalarType type_ = c10::ScalarType::Char;
  int bits_ = 8, mantissa_bits_ = 0, bias_ = 0;
  float values_[256];
  std::vector<float> sorted_, edges_;
  std::vector<double> exact_edges_;
  std::vector<uint8_t> codes_;
};

}  // namespace swage::quant
