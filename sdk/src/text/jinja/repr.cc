#include "repr.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "../unicode.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

void append_quoted(std::string_view text, Builder* out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string quoted(1, quote);
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_char(text, &at);
    char code[16] = "";
    if (c == static_cast<unsigned char>(quote) || c == '\\') {
      quoted += '\\';
      quoted += static_cast<char>(c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      quoted += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (is_printable(c)) {
      quoted.append(text.substr(begin, at - begin));
    } else {
      const auto number = static_cast<unsigned>(c);
      const char* format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
      std::snprintf(code, sizeof(code), format, number);
      quoted += code;
    }
  }
  quoted += quote;
  *out << quoted;
}

void append_items(const Items& items, const char* open, const char* close, Builder* out) {
  *out << open;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) *out << ", ";
    append_repr(items[i], out);
  }
  *out << close;
}

void append_pairs(const std::vector<Dict::Entry>& entries, Builder* out) {
  *out << "{";
  bool first = true;
  for (const auto& [key, value] : entries) {
    if (!first) *out << ", ";
    first = false;
    append_repr(key, out);
    *out << ": ";
    append_repr(value, out);
  }
  *out << "}";
}

void append_namespace(const Namespace& space, Builder* out) {
  const Budget::Level level(&out->budget());  // a namespace may hold itself
  *out << "<Namespace {";
  bool first = true;
  for (const auto& [name, value] : space.members) {
    if (!first) *out << ", ";
    first = false;
    append_quoted(name, out);
    *out << ": ";
    append_repr(value, out);
  }
  *out << "}>";
}

void append_range(const Range& range, Builder* out) {
  *out << absl::StrCat("range(", range.start, ", ", range.stop);
  if (range.step != 1) *out << absl::StrCat(", ", range.step);
  *out << ")";
}

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  const std::string shortest(buffer, end);  // -d.ddde+xx
  const size_t e = shortest.find('e');
  const int exponent = std::atoi(shortest.c_str() + e + 1);
  if (exponent < -4 || exponent >= 16) return shortest;
  const bool negative = shortest[0] == '-';
  std::string digits;
  for (const char c : shortest.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < 0) {
    digits.insert(0, static_cast<size_t>(-exponent), '0');
    digits.insert(1, ".");
  } else {
    const auto whole = static_cast<size_t>(exponent) + 1;
    if (digits.size() < whole + 1) digits.append(whole + 1 - digits.size(), '0');
    digits.insert(whole, ".");
  }
  return negative ? "-" + digits : digits;
}

void append_repr(const Value& value, Builder* out) {
  out->budget().step();
  switch (value.kind()) {
    case Kind::kUndefined:
      *out << "Undefined";
      return;
    case Kind::kNone:
      *out << "None";
      return;
    case Kind::kBool:
      *out << (value.integer() != 0 ? "True" : "False");
      return;
    case Kind::kInt:
      *out << absl::StrCat(value.integer());
      return;
    case Kind::kFloat:
      *out << float_repr(value.number());
      return;
    case Kind::kString:
      append_quoted(value.text(), out);
      return;
    case Kind::kList:
      append_items(value.sequence().items, "[", "]", out);
      return;
    case Kind::kTuple:
      append_items(value.sequence().items, "(", value.sequence().items.size() == 1 ? ",)" : ")",
                   out);
      return;
    case Kind::kView:
      *out << value.sequence().label;
      append_items(value.sequence().items, "([", "])", out);
      return;
    case Kind::kDict:
      append_pairs(value.dict().entries(), out);
      return;
    case Kind::kRange:
      append_range(value.range(), out);
      return;
    case Kind::kNamespace:
      append_namespace(value.space(), out);
      return;
    case Kind::kGenerator:
      *out << "<generator object>";
      return;
    case Kind::kFunction:
      *out << "<function " << value.function().name << ">";
      return;
    case Kind::kLoop:
      *out << "<LoopContext>";
      return;
  }
}

void append_str(const Value& value, Builder* out) {
  if (value.is(Kind::kString)) {
    *out << value.text();
  } else if (!value.is(Kind::kUndefined)) {
    append_repr(value, out);
  }
}

Value to_text(Budget* budget, const Value& value) {
  if (value.is(Kind::kString)) return value;
  Builder out(budget);
  append_str(value, &out);
  return Value(std::make_shared<const std::string>(out.release()));
}

}  // namespace swage::text::jinja
