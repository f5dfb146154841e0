#include "literal.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "../unicode.h"

namespace swage::text::jinja {
namespace {

bool is_decimal(char c) { return c >= '0' && c <= '9'; }

class Reader {
 public:
  Reader(std::string_view source, size_t* at, Token* token)
      : source_(source), at_(*at), end_(at), token_(token) {}

  bool read() {
    if (peek() == '\'' || peek() == '"') {
      string();
    } else if (is_decimal(peek())) {
      number();
    } else if (!name()) {
      return false;
    }
    *end_ = at_;
    return true;
  }

 private:
  char peek(size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }

  bool name() {
    token_->type = Token::Type::kName;
    const size_t begin = at_;
    while (at_ < source_.size()) {
      size_t next = at_;
      const char32_t c = next_char(source_, &next);
      if (c < 0x80 ? !(std::isalnum(static_cast<int>(c)) || c == '_') : !is_word(c)) break;
      at_ = next;
    }
    token_->text = source_.substr(begin, at_ - begin);
    return at_ > begin;
  }

  // Digits of the base, single underscores between them.
  std::string digits(int base) {
    std::string text;
    const auto is_digit = [base](char c) {
      if (base == 16) return std::isxdigit(static_cast<unsigned char>(c)) != 0;
      return c >= '0' && c < '0' + base;
    };
    while (is_digit(peek()) || (peek() == '_' && !text.empty() && is_digit(peek(1)))) {
      if (peek() != '_') text += peek();
      ++at_;
    }
    return text;
  }

  void number() {
    token_->type = Token::Type::kInteger;
    const char kind = static_cast<char>(std::tolower(peek(1)));
    const int base = peek() != '0' ? 10 : kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    const size_t begin = at_;
    if (base != 10) at_ += 2;
    std::string text = digits(base);
    const bool is_index = begin > 0 && source_[begin - 1] == '.';  // as in a.0.1
    if (base == 10 && !is_index && fraction(&text)) return;
    const auto result =
        std::from_chars(text.data(), text.data() + text.size(), token_->integer, base);
    if (text.empty() || result.ec == std::errc::result_out_of_range) {
      fail_at(token_->at, text.empty() ? "a number without digits" : "the integer ",
              source_.substr(begin, std::min<size_t>(at_ - begin, 40)),
              text.empty() ? "" : " has more than 64 bits");
    }
    if (base == 10 && text.size() > 1 && text.find_first_not_of('0') != 0 &&
        text.find_first_not_of('0') != std::string::npos) {
      fail_at(token_->at, "the integer ", text, " begins with 0");
    }
  }

  bool fraction(std::string* text) {
    bool is_float = false;
    if (peek() == '.' && is_decimal(peek(1))) {
      ++at_;
      *text += "." + digits(10);
      is_float = true;
    }
    const size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
    if ((peek() == 'e' || peek() == 'E') && is_decimal(peek(1 + sign))) {
      *text += "e";
      if (sign == 1) *text += peek(1);
      at_ += 1 + sign;
      *text += digits(10);
      is_float = true;
    }
    if (is_float) {
      token_->type = Token::Type::kFloat;
      token_->real = std::strtod(text->c_str(), nullptr);
    }
    return is_float;
  }

  void string() {
    token_->type = Token::Type::kString;
    const char quote = peek();
    for (++at_; peek() != quote || at_ >= source_.size();) {
      if (at_ >= source_.size()) fail_at(token_->at, "the string that begins here has no end");
      if (peek() != '\\') {
        token_->text += source_[at_++];
      } else {
        ++at_;
        escape();
      }
    }
    ++at_;
  }

  void escape() {
    static constexpr std::string_view kNames = "\\'\"abfnrtv", kMeanings = "\\'\"\a\b\f\n\r\t\v";
    const char c = peek();
    if (const size_t i = kNames.find(c); at_ < source_.size() && i != std::string_view::npos) {
      token_->text += kMeanings[i];
      ++at_;
    } else if (c == '\n') {
      ++at_;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      ++at_;
      code_point(c == 'x' ? 2 : c == 'u' ? 4 : 8);
    } else if (c >= '0' && c <= '7') {
      char32_t code = 0;
      for (int i = 0; i < 3 && peek() >= '0' && peek() <= '7'; ++i)
        code = code * 8 + static_cast<char32_t>(source_[at_++] - '0');
      append_char(code, &token_->text);
    } else {
      token_->text += '\\';  // what is no escape stays
    }
  }

  void code_point(size_t size) {
    char32_t code = 0;
    for (size_t i = 0; i < size; ++i, ++at_) {
      const char c = peek();
      if (!std::isxdigit(static_cast<unsigned char>(c))) {
        fail_at(token_->at, "an escape in this string has less than ", size, " digits");
      }
      code = code * 16 + static_cast<char32_t>(is_decimal(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      fail_at(token_->at, "an escape in this string is no character");
    }
    append_char(code, &token_->text);
  }

  std::string_view source_;
  size_t at_;
  size_t* end_;
  Token* token_;
};

}  // namespace

bool read_literal(std::string_view source, size_t* at, Token* token) {
  return Reader(source, at, token).read();
}

}  // namespace swage::text::jinja
