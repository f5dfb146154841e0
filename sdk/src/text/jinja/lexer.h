#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace swage::text::jinja {

struct Token {
  enum class Type {
    kData,  // text between the tags
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd,
  };

  Type type = Type::kEnd;
  std::string text;  // of a string: what it means
  Position at;
  int64_t integer = 0;
  double real = 0;

  bool is(Type other) const { return type == other; }
  bool is_name(std::string_view name) const { return type == Type::kName && text == name; }
  bool is_operator(std::string_view name) const { return type == Type::kOperator && text == name; }
  std::string describe() const;  // for error messages
};

// Cuts a template as Jinja does with trim_blocks and lstrip_blocks: comments and raw blocks are
// gone, whitespace control is applied. The last token is kEnd. `text` is valid UTF-8.
std::vector<Token> lex(std::string_view text);

}  // namespace swage::text::jinja
