#pragma once
#include "value.h"

namespace swage::text::jinja {

enum class Operator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
enum class Comparison { kEqual, kUnequal, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };

// As Python computes, except that integers have 64 bits: more is an error.
Value calculate(Budget* budget, Operator op, const Value& a, const Value& b);
Value negate(const Value& value);
bool compare(Budget* budget, Comparison comparison, const Value& a, const Value& b);

bool is_equal(Budget* budget, const Value& a, const Value& b);
bool is_less(Budget* budget, const Value& a, const Value& b);
bool contains(Budget* budget, const Value& whole, const Value& part);

// Fails where using an undefined value is an error, with what it is.
void require_defined(const Value& value);

}  // namespace swage::text::jinja
