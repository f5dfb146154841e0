#include "format.h"

#include <algorithm>
#include <cstdio>

#include "../unicode.h"
#include "repr.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

constexpr int64_t kMaxWidth = 10'000;  // of one number or padded text

class Formatter {
 public:
  Formatter(Budget* budget, std::string_view pattern, const Value& arguments)
      : budget_(budget), out_(budget), pattern_(pattern), arguments_(arguments) {}

  Value run() {
    while (at_ < pattern_.size()) {
      const size_t percent = std::min(pattern_.find('%', at_), pattern_.size());
      out_ << pattern_.substr(at_, percent - at_);
      at_ = percent;
      if (at_ < pattern_.size()) conversion();
    }
    const bool is_tuple = arguments_.is(Kind::kTuple);
    // Python takes everything with [] for a mapping, which need not be used.
    const bool may_stay = arguments_.is(Kind::kDict) || arguments_.is(Kind::kList) ||
                          arguments_.is(Kind::kRange) || arguments_.is(Kind::kUndefined);
    const size_t expected = is_tuple ? arguments_.sequence().items.size() : may_stay ? 0 : 1;
    if (used_ < expected) fail("not all arguments converted during string formatting");
    return Value(std::make_shared<const std::string>(out_.release()));
  }

 private:
  Value next_argument() {
    const size_t i = used_++;
    if (!arguments_.is(Kind::kTuple) && i == 0) return arguments_;
    if (arguments_.is(Kind::kTuple) && i < arguments_.sequence().items.size()) {
      return arguments_.sequence().items[i];
    }
    fail("not enough arguments for format string");
  }

  int64_t number() {
    int64_t value = 0;
    for (; at_ < pattern_.size() && pattern_[at_] >= '0' && pattern_[at_] <= '9'; ++at_) {
      value = value * 10 + (pattern_[at_] - '0');
      if (value > kMaxWidth) fail("a width of more than ", kMaxWidth);
    }
    return value;
  }

  Value named_argument() {
    const size_t close = pattern_.find(')', at_);
    if (close == std::string_view::npos) fail("incomplete format key");
    const std::string_view key = pattern_.substr(at_ + 1, close - at_ - 1);
    at_ = close + 1;
    if (!arguments_.is(Kind::kDict)) fail("format requires a mapping");
    const Value* found = arguments_.dict().find(key);
    if (found == nullptr) fail("format: there is no key '", key, "'");
    return *found;
  }

  void conversion() {
    ++at_;
    std::string flags = "%";
    Value argument;
    const bool is_named = at_ < pattern_.size() && pattern_[at_] == '(';
    if (is_named) argument = named_argument();
    for (; at_ < pattern_.size() &&
           std::string_view("-+ #0").find(pattern_[at_]) != std::string_view::npos;
         ++at_) {
      if (flags.find(pattern_[at_]) == std::string::npos) flags += pattern_[at_];
    }
    const int64_t width = number();
    int64_t precision = -1;
    if (at_ < pattern_.size() && pattern_[at_] == '.') {
      ++at_;
      precision = number();
    }
    if (at_ == pattern_.size()) fail("incomplete format");
    const char type = pattern_[at_++];
    if (type == '%') {
      out_ << "%";
      return;
    }
    if (!is_named) argument = next_argument();
    convert(type, flags, width, precision, argument);
  }

  void convert(char type, std::string flags, int64_t width, int64_t precision,
               const Value& argument) {
    switch (type) {
      case 's':
      case 'r':
        text(type == 'r', flags.find('-') != std::string::npos, width, precision, argument);
        return;
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        if (!argument.is_number() ||
            (argument.is(Kind::kFloat) &&
             std::string_view("xXo").find(type) != std::string_view::npos)) {
          fail("%", std::string(1, type), " format: a number is required, not ",
               argument.type_name());
        }
        print(flags, width, precision,
              std::string("ll") + (type == 'i' || type == 'u' ? 'd' : type),
              static_cast<long long>(argument.is(Kind::kFloat) ? whole(argument.number())
                                                               : argument.integer()));
        return;
      case 'c':
        character(flags.find('-') != std::string::npos, width, argument);
        return;
      case 'f':
      case 'F':
      case 'e':
      case 'E':
      case 'g':
      case 'G':
        if (!argument.is_number()) fail("must be real number, not ", argument.type_name());
        print(flags, width, precision, std::string(1, type), argument.number());
        return;
      default:
        fail("unsupported format character '", std::string(1, type), "'");
    }
  }

  static int64_t whole(double value) {
    if (!(value > -9.2e18 && value < 9.2e18)) fail("cannot convert float to integer");
    return static_cast<int64_t>(value);
  }

  void text(bool as_repr, bool left, int64_t width, int64_t precision, const Value& argument) {
    Builder made(budget_);
    if (as_repr) {
      append_repr(argument, &made);
    } else {
      append_str(argument, &made);
    }
    std::string_view shown = made.text();
    if (precision >= 0) shown = shown.substr(0, byte_offset(shown, precision));
    const auto padding = static_cast<size_t>(std::max<int64_t>(width - count_characters(shown), 0));
    if (!left) out_.repeat(padding, " ");
    out_ << shown;
    if (left) out_.repeat(padding, " ");
  }

  void character(bool left, int64_t width, const Value& argument) {
    std::string one;
    if (argument.is(Kind::kString) && count_characters(argument.text()) == 1) {
      one = argument.text();
    } else if (argument.is_integer() && is_code_point(argument.integer())) {
      append_char(static_cast<char32_t>(argument.integer()), &one);
    } else {
      fail("%c requires int or char");
    }
    text(false, left, width, -1, make_text(budget_, std::move(one)));
  }

  static bool is_code_point(int64_t code) {
    return code >= 0 && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
  }

  template <class Number>
  void print(const std::string& flags, int64_t width, int64_t precision, const std::string& type,
             Number value) {
    std::string format = absl::StrCat(flags, width > 0 ? absl::StrCat(width) : "");
    if (precision >= 0) absl::StrAppend(&format, ".", precision);
    format += type;
    std::string text(static_cast<size_t>(width + std::max<int64_t>(precision, 0)) + 400, '\0');
    const int size = std::snprintf(text.data(), text.size(), format.c_str(), value);
    out_ << std::string_view(text).substr(0, static_cast<size_t>(std::max(size, 0)));
  }

  Budget* budget_;
  Builder out_;
  std::string_view pattern_;
  const Value& arguments_;
  size_t at_ = 0, used_ = 0;
};

}  // namespace

Value format(Budget* budget, std::string_view pattern, const Value& arguments) {
  return Formatter(budget, pattern, arguments).run();
}

}  // namespace swage::text::jinja
