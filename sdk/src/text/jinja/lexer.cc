#include "lexer.h"

#include "../unicode.h"
#include "literal.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

// \r\n and \r become \n; one line end at the end of the template goes away.
std::string with_plain_lines(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') {
      plain += text[i];
    } else if (i + 1 == text.size() || text[i + 1] != '\n') {
      plain += '\n';
    }
  }
  if (!plain.empty() && plain.back() == '\n') plain.pop_back();
  return plain;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) text_until_tag();
    add(Token::Type::kEnd, at_, "");
    return std::move(tokens_);
  }

 private:
  bool starts(std::string_view what) const { return source_.substr(at_, what.size()) == what; }

  void add(Token::Type type, size_t offset, std::string text) {
    tokens_.push_back({type, std::move(text), position(offset)});
  }

  // Asked with growing offsets.
  Position position(size_t offset) {
    for (; located_ < offset; ++located_) {
      if (source_[located_] == '\n') {
        ++place_.line;
        place_.column = 1;
      } else if ((source_[located_] & 0xC0) != 0x80) {
        ++place_.column;
      }
    }
    return place_;
  }

  void skip_space() {
    while (at_ < source_.size()) {
      size_t next = at_;
      if (!is_space(next_char(source_, &next))) break;
      at_ = next;
    }
  }

  size_t find_tag(size_t from) const {
    for (size_t i = source_.find('{', from); i != std::string_view::npos;
         i = source_.find('{', i + 1)) {
      const char second = i + 1 < source_.size() ? source_[i + 1] : '\0';
      if (second == '%' || second == '{' || second == '#') return i;
    }
    return source_.size();
  }

  // The text in front of a tag, as the tag's sign and lstrip_blocks leave it.
  std::string_view before_tag(std::string_view text, char sign, bool is_variable) const {
    if (sign == '-') return strip(text, std::nullopt, Side::kRight);
    if (sign == '+' || is_variable) return text;
    const size_t line = text.rfind('\n') + 1;  // 0 when the text is a part of one line
    if (line == 0 && !at_line_start_) return text;
    const bool blank = strip(text.substr(line), std::nullopt, Side::kBoth).empty();
    return blank ? text.substr(0, line) : text;
  }

  void add_data(size_t offset, std::string_view text) {
    if (!text.empty()) add(Token::Type::kData, offset, std::string(text));
  }

  char take_sign() {
    if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+')) return source_[at_++];
    return '\0';
  }

  void text_until_tag() {
    const size_t begin = at_, tag = find_tag(at_);
    const std::string_view text = source_.substr(begin, tag - begin);
    if (tag == source_.size()) {
      add_data(begin, text);
      at_ = tag;
      return;
    }
    const char kind = source_[tag + 1];
    at_ = tag + 2;
    const char sign = take_sign();
    add_data(begin, before_tag(text, sign, kind == '{'));
    if (kind == '#') {
      skip_comment(tag);
    } else if (kind == '{') {
      add(Token::Type::kVariableBegin, tag, "{{");
      tag_content(false);
    } else if (begins_raw()) {
      raw_block(tag);
    } else {
      add(Token::Type::kBlockBegin, tag, "{%");
      tag_content(true);
    }
    at_line_start_ = at_ > 0 && source_[at_ - 1] == '\n';
  }

  // Behind `close` without its sign: trim_blocks takes one line end, "-" all white space.
  bool take_end(std::string_view close, bool trim) {
    const size_t before = at_;
    const char sign = take_sign();
    if (!starts(close) || (sign == '+' && !trim)) {
      at_ = before;
      return false;
    }
    at_ += close.size();
    if (sign == '-') {
      skip_space();
    } else if (sign == '\0' && trim && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
    }
    return true;
  }

  void skip_comment(size_t tag) {
    for (; at_ < source_.size(); ++at_) {
      if (take_end("#}", true)) return;
    }
    fail_at(position(tag), "the comment that begins here has no end \"#}\"");
  }

  bool begins_raw() {
    const size_t before = at_;
    skip_space();
    if (starts("raw")) {
      at_ += 3;
      skip_space();
      if (take_end("%}", false)) return true;
    }
    at_ = before;
    return false;
  }

  void raw_block(size_t tag) {
    const size_t begin = at_;
    at_line_start_ = source_[at_ - 1] == '\n';
    for (size_t end = source_.find("{%", at_); end != std::string_view::npos;
         end = source_.find("{%", end + 1)) {
      at_ = end + 2;
      const char sign = take_sign();
      skip_space();
      if (!starts("endraw")) continue;
      at_ += 6;
      skip_space();
      if (!take_end("%}", true)) continue;
      add_data(begin, before_tag(source_.substr(begin, end - begin), sign, false));
      return;
    }
    fail_at(position(tag), "the raw block that begins here has no end \"{% endraw %}\"");
  }

  // Tokens up to the end of the tag. Within brackets, "}}" is no end.
  void tag_content(bool is_block) {
    std::string open;
    while (true) {
      skip_space();
      if (at_ == source_.size()) return;  // the parser misses the end
      const size_t begin = at_;
      if (open.empty() && take_end(is_block ? "%}" : "}}", is_block)) {
        add(is_block ? Token::Type::kBlockEnd : Token::Type::kVariableEnd, begin,
            is_block ? "%}" : "}}");
        return;
      }
      const Position at = position(begin);
      tokens_.emplace_back();
      tokens_.back().at = at;
      if (!read_literal(source_, &at_, &tokens_.back())) operator_token(&open);
    }
  }

  void operator_token(std::string* open) {
    static constexpr std::string_view kDouble[] = {"//", "**", "==", "!=", ">=", "<="};
    Token& token = tokens_.back();
    token.type = Token::Type::kOperator;
    for (const std::string_view name : kDouble) {
      if (starts(name)) token.text = name;
    }
    const char c = source_[at_];
    if (token.text.empty() &&
        std::string_view("+-/*%~[](){}><=.:|,;").find(c) != std::string_view::npos) {
      token.text = c;
    }
    if (token.text.empty()) {
      size_t end = at_;
      next_char(source_, &end);
      fail_at(token.at, "unexpected \"", source_.substr(at_, end - at_), "\"");
    }
    if (c == '(' || c == '[' || c == '{') {
      *open += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open->empty()) fail_at(token.at, "unexpected \"", token.text, "\"");
      if (open->back() != c) {
        fail_at(token.at, "unexpected \"", token.text, "\", expected \"",
                open->substr(open->size() - 1), "\"");
      }
      open->pop_back();
    }
    at_ += token.text.size();
  }

  std::string_view source_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  bool at_line_start_ = true;
  size_t located_ = 0;
  Position place_{1, 1};
};

}  // namespace

std::string Token::describe() const {
  switch (type) {
    case Type::kEnd:
      return "the end of the template";
    case Type::kData:
      return "text";
    case Type::kString:
      return "a string";
    case Type::kInteger:
    case Type::kFloat:
      return "a number";
    default:
      return "\"" + text + "\"";
  }
}

std::vector<Token> lex(std::string_view text) {
  const std::string plain = with_plain_lines(text);
  return Lexer(plain).run();
}

}  // namespace swage::text::jinja
