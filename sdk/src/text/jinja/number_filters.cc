#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "arguments.h"
#include "filters.h"
#include "operators.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

// Python allows single underscores between digits.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto alnum = [&](size_t at) {
      return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0;
    };
    if (text[i] != '_') {
      plain += text[i];
    } else if (i == 0 || !alnum(i - 1) || !alnum(i + 1)) {
      return std::nullopt;
    }
  }
  return plain;
}

std::optional<int64_t> read_integer(std::string_view text, int64_t base) {
  const auto plain = without_underscores(strip(text, std::nullopt, Side::kBoth));
  if (!plain || plain->empty()) return std::nullopt;
  std::string_view digits = *plain;
  const bool negative = digits[0] == '-';
  if (negative || digits[0] == '+') digits.remove_prefix(1);
  const char kind =
      digits.size() > 2 && digits[0] == '0' ? static_cast<char>(digits[1] | 0x20) : '\0';
  if ((kind == 'x' && base == 16) || (kind == 'o' && base == 8) || (kind == 'b' && base == 2)) {
    digits.remove_prefix(2);
  }
  if (digits.empty() || digits[0] == '-') return std::nullopt;
  const std::string signed_digits = (negative ? "-" : "") + std::string(digits);
  int64_t value = 0;
  const char* end = signed_digits.data() + signed_digits.size();
  const auto result = std::from_chars(signed_digits.data(), end, value, static_cast<int>(base));
  if (result.ec == std::errc::result_out_of_range) fail("an integer of more than 64 bits");
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

std::optional<double> read_float(std::string_view text) {
  const auto plain = without_underscores(strip(text, std::nullopt, Side::kBoth));
  if (!plain || plain->empty()) return std::nullopt;
  // strtod also reads hexadecimal numbers and "nan(…)".
  if (plain->find_first_of("xX(") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(plain->c_str(), &end);
  if (end != plain->c_str() + plain->size()) return std::nullopt;
  return value;
}

std::optional<int64_t> whole(double value) {
  if (!(value > -9.2e18 && value < 9.2e18)) return std::nullopt;
  return static_cast<int64_t>(value);
}

Value to_int(Interpreter&, const Value& input, const Call& call) {
  const Items arguments =
      bind("int", call, {{"default", Value(int64_t{0})}, {"base", Value(int64_t{10})}});
  const int64_t base = integer_argument("base", arguments[1]);
  require_defined(input);
  if (base < 2 || base > 36) fail("int() base must be >= 2 and <= 36");
  std::optional<int64_t> value;
  if (input.is(Kind::kString)) {
    value = read_integer(input.text(), base);
    const auto real = value ? std::nullopt : read_float(input.text());
    if (real) value = whole(*real);
  } else if (input.is(Kind::kFloat)) {
    value = whole(input.number());
  } else if (input.is_integer()) {
    value = input.integer();
  }
  return value ? Value(*value) : arguments[0];
}

Value to_float(Interpreter&, const Value& input, const Call& call) {
  const Items arguments = bind("float", call, {{"default", Value(0.0)}});
  require_defined(input);
  std::optional<double> value;
  if (input.is(Kind::kString)) value = read_float(input.text());
  if (input.is_number()) value = input.number();
  return value ? Value(*value) : arguments[0];
}

Value absolute(Interpreter&, const Value& input, const Call& call) {
  bind("abs", call, {});
  require_defined(input);
  if (!input.is_number()) fail("bad operand type for abs(): '", input.type_name(), "'");
  if (input.is(Kind::kFloat)) return Value(std::fabs(input.number()));
  return input.integer() < 0 ? negate(input) : Value(input.integer());
}

Value round(Interpreter&, const Value& input, const Call& call) {
  const Items arguments =
      bind("round", call, {{"precision", Value(int64_t{0})}, {"method", Value("common")}});
  const int64_t precision = integer_argument("precision", arguments[0]);
  const std::string& method = text_argument("method", arguments[1]);
  require_defined(input);
  if (!input.is_number()) fail("type ", input.type_name(), " cannot be rounded");
  if (std::abs(precision) > 300) fail("a precision of more than 300 digits");
  if (method == "common") {
    if (input.is_integer() && precision >= 0) return Value(input.integer());
    if (precision < 0) {
      const double scale = std::pow(10.0, static_cast<double>(-precision));
      const double rounded = std::nearbyint(input.number() / scale) * scale;
      return input.is_integer() ? Value(whole(rounded).value_or(0)) : Value(rounded);
    }
    // Printing rounds the exact value, as Python does.
    char text[700];
    std::snprintf(text, sizeof(text), "%.*f", static_cast<int>(precision), input.number());
    return Value(std::strtod(text, nullptr));
  }
  if (method != "ceil" && method != "floor") fail("method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = input.number() * scale;
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

}  // namespace

const Filters& number_filters() {
  static const Filters table = {
      {"int", to_int}, {"float", to_float}, {"abs", absolute}, {"round", round}};
  return table;
}

}  // namespace swage::text::jinja
