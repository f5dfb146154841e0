#include "operators.h"

#include <algorithm>
#include <cmath>

#include "format.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

constexpr const char* kOperatorNames[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

[[noreturn]] void too_large(Operator op) {
  fail("the result of ", kOperatorNames[static_cast<int>(op)], " has more than 64 bits");
}

[[noreturn]] void unsupported(Operator op, const Value& a, const Value& b) {
  fail("unsupported operand type(s) for ", kOperatorNames[static_cast<int>(op)], ": '",
       a.type_name(), "' and '", b.type_name(), "'");
}

int64_t floor_quotient(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail("0.0 cannot be raised to a negative power");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      too_large(Operator::kPower);
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) too_large(Operator::kPower);
  }
  return Value(result);
}

Value calculate_integers(Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) too_large(op);
      return Value(result);
    case Operator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) too_large(op);
      return Value(result);
    case Operator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) too_large(op);
      return Value(result);
    case Operator::kDivide:
      if (b == 0) fail("division by zero");
      return Value(static_cast<double>(a) / static_cast<double>(b));
    case Operator::kFloorDivide:
    case Operator::kModulo:
      if (b == 0) fail("integer division or modulo by zero");
      if (b == -1) {  // the least integer has no positive twin
        if (op == Operator::kModulo) return Value(int64_t{0});
        if (__builtin_sub_overflow(int64_t{0}, a, &result)) too_large(op);
        return Value(result);
      }
      if (op == Operator::kFloorDivide) return Value(floor_quotient(a, b));
      return Value(a - floor_quotient(a, b) * b);
    case Operator::kPower:
      return power(a, b);
  }
  return Value();
}

Value calculate_floats(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return Value(a + b);
    case Operator::kSubtract:
      return Value(a - b);
    case Operator::kMultiply:
      return Value(a * b);
    case Operator::kDivide:
      if (b == 0) fail("float division by zero");
      return Value(a / b);
    case Operator::kFloorDivide:
    case Operator::kModulo: {
      if (b == 0) fail(op == Operator::kModulo ? "float modulo" : "float floor division by zero");
      double rest = std::fmod(a, b);
      double quotient = (a - rest) / b;
      if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        quotient -= 1;
      }
      if (rest == 0) rest = std::copysign(0.0, b);
      if (op == Operator::kModulo) return Value(rest);
      return Value(quotient == 0 ? std::copysign(0.0, a / b) : std::round(quotient));
    }
    case Operator::kPower: {
      if (a == 0 && b < 0) fail("0.0 cannot be raised to a negative power");
      if (a < 0 && b != std::floor(b)) fail("the result of ** is not a real number");
      const double result = std::pow(a, b);
      if (std::isinf(result) && !std::isinf(a) && !std::isinf(b)) too_large(op);
      return Value(result);
    }
  }
  return Value();
}

Value repeat(Budget* budget, const Value& value, int64_t count) {
  const auto times = static_cast<size_t>(std::max<int64_t>(count, 0));
  if (value.is(Kind::kString)) {
    Builder out(budget);
    out.repeat(times, value.text());
    return Value(std::make_shared<const std::string>(out.release()));
  }
  const Items& items = value.sequence().items;
  budget->take(times, items.size() * sizeof(Value));
  Items repeated;
  if (!items.empty()) {
    for (size_t i = 0; i < times; ++i) repeated.insert(repeated.end(), items.begin(), items.end());
  }
  return make_sequence(budget, value.kind(), std::move(repeated));
}

bool is_repeatable(const Value& value) {
  return value.is(Kind::kString) || value.is(Kind::kList) || value.is(Kind::kTuple);
}

Value join(Budget* budget, const Value& a, const Value& b) {
  if (a.is(Kind::kString)) {
    Builder out(budget);
    out << a.text() << b.text();
    return Value(std::make_shared<const std::string>(out.release()));
  }
  Items items = a.sequence().items;
  const Items& more = b.sequence().items;
  items.insert(items.end(), more.begin(), more.end());
  return make_sequence(budget, a.kind(), std::move(items));
}

bool equal_items(Budget* budget, const Items& a, const Items& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!is_equal(budget, a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(Budget* budget, const Dict& a, const Dict& b) {
  if (a.entries().size() != b.entries().size()) return false;
  for (const auto& [key, value] : a.entries()) {
    const Value* other = b.find(key, budget);
    if (other == nullptr || !is_equal(budget, value, *other)) return false;
  }
  return true;
}

const char* sign(Comparison comparison) {
  switch (comparison) {
    case Comparison::kLess:
      return "<";
    case Comparison::kLessEqual:
      return "<=";
    case Comparison::kGreater:
      return ">";
    default:
      return ">=";
  }
}

bool decide(Comparison comparison, int order) {
  switch (comparison) {
    case Comparison::kLess:
      return order < 0;
    case Comparison::kLessEqual:
      return order <= 0;
    case Comparison::kGreater:
      return order > 0;
    default:
      return order >= 0;
  }
}

bool compare_order(Budget* budget, Comparison comparison, const Value& a, const Value& b) {
  require_defined(a);
  require_defined(b);
  budget->step();
  if (a.is_integer() && b.is_integer()) {
    return decide(comparison, a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0);
  }
  if (a.is_number() && b.is_number()) {
    const double left = a.number(), right = b.number();
    if (std::isnan(left) || std::isnan(right)) return false;
    return decide(comparison, left < right ? -1 : left > right ? 1 : 0);
  }
  if (a.is(Kind::kString) && b.is(Kind::kString)) {
    budget->scan(std::min(a.text().size(), b.text().size()));
    return decide(comparison, a.text().compare(b.text()));
  }
  if (a.kind() == b.kind() && (a.is(Kind::kList) || a.is(Kind::kTuple))) {
    const Items &left = a.sequence().items, &right = b.sequence().items;
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!is_equal(budget, left[i], right[i]))
        return compare_order(budget, comparison, left[i], right[i]);
    }
    return decide(comparison, left.size() < right.size() ? -1 : left.size() > right.size());
  }
  fail("'", sign(comparison), "' not supported between instances of '", a.type_name(), "' and '",
       b.type_name(), "'");
}

}  // namespace

void require_defined(const Value& value) {
  if (value.is(Kind::kUndefined)) fail(value.undefined_message());
}

Value calculate(Budget* budget, Operator op, const Value& a, const Value& b) {
  if (op == Operator::kModulo && a.is(Kind::kString)) return format(budget, a.text(), b);
  require_defined(a);
  require_defined(b);
  if (a.is_integer() && b.is_integer()) return calculate_integers(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return calculate_floats(op, a.number(), b.number());
  if (op == Operator::kAdd && a.kind() == b.kind() && is_repeatable(a)) return join(budget, a, b);
  if (op == Operator::kMultiply && is_repeatable(a) && b.is_integer()) {
    return repeat(budget, a, b.integer());
  }
  if (op == Operator::kMultiply && is_repeatable(b) && a.is_integer()) {
    return repeat(budget, b, a.integer());
  }
  if (op == Operator::kAdd && a.is(Kind::kString)) {
    fail("can only concatenate str (not \"", b.type_name(), "\") to str");
  }
  unsupported(op, a, b);
}

Value negate(const Value& value) {
  require_defined(value);
  if (value.is(Kind::kFloat)) return Value(-value.number());
  if (!value.is_integer()) fail("bad operand type for unary -: '", value.type_name(), "'");
  return calculate_integers(Operator::kSubtract, 0, value.integer());
}

bool is_equal(Budget* budget, const Value& a, const Value& b) {
  budget->step();
  if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      if (a.text().size() != b.text().size()) return false;
      budget->scan(a.text().size());
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
      return equal_items(budget, a.sequence().items, b.sequence().items);
    case Kind::kDict:
      return equal_dicts(budget, a.dict(), b.dict());
    case Kind::kRange:
      return equal_items(budget, items_of(budget, a), items_of(budget, b));
    default:
      return a.identity() == b.identity();
  }
}

bool is_less(Budget* budget, const Value& a, const Value& b) {
  return compare_order(budget, Comparison::kLess, a, b);
}

bool contains(Budget* budget, const Value& whole, const Value& part) {
  if (whole.is(Kind::kString)) {
    if (!part.is(Kind::kString)) {
      fail("'in <string>' requires string as left operand, not ", part.type_name());
    }
    budget->scan(whole.text().size());
    return find_part(whole.text(), part.text()) != std::string_view::npos;
  }
  if (whole.is(Kind::kDict)) {
    if (!is_hashable(part)) fail("unhashable type: '", part.type_name(), "'");
    return whole.dict().find(part, budget) != nullptr;
  }
  if (!whole.is_sequence() && !whole.is(Kind::kRange) && !whole.is(Kind::kUndefined)) {
    fail("argument of type '", whole.type_name(), "' is not iterable");
  }
  const Items copied =
      whole.is_sequence() && !whole.is(Kind::kGenerator) ? Items() : items_of(budget, whole);
  const Items& items =
      whole.is_sequence() && !whole.is(Kind::kGenerator) ? whole.sequence().items : copied;
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& item) { return is_equal(budget, item, part); });
}

bool compare(Budget* budget, Comparison comparison, const Value& a, const Value& b) {
  switch (comparison) {
    case Comparison::kEqual:
      return is_equal(budget, a, b);
    case Comparison::kUnequal:
      return !is_equal(budget, a, b);
    case Comparison::kIn:
      return contains(budget, b, a);
    case Comparison::kNotIn:
      return !contains(budget, b, a);
    default:
      return compare_order(budget, comparison, a, b);
  }
}

}  // namespace swage::text::jinja
