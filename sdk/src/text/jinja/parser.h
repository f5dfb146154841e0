#pragma once
#include <algorithm>
#include <string_view>
#include <vector>

#include "lexer.h"
#include "syntax.h"

namespace swage::text::jinja {

// Tokens and how far they have been read.
class Tokens {
 public:
  explicit Tokens(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void advance() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool skip_name(std::string_view name);
  bool skip_operator(std::string_view name);
  void expect_operator(std::string_view name);
  void expect(Token::Type type, const char* what);
  std::string expect_name(const char* what);
  [[noreturn]] void unexpected(std::string_view expected) const;

  // Holds one level of nesting.
  class Level {
   public:
    explicit Level(Tokens* tokens);
    ~Level() { --tokens_->depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Tokens* tokens_;
  };

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

// Reads expressions, with Jinja's precedences.
class ExpressionParser {
 public:
  explicit ExpressionParser(Tokens* tokens) : tokens_(*tokens) {}

  ExprPtr expression(bool with_condition = true);
  // Expressions with commas between them are one tuple. `end` also ends it.
  ExprPtr tuple(bool with_condition = true, std::string_view end = "");
  ExprPtr target(bool with_attribute);
  ExprPtr call_of_macro();  // a call and nothing else
  // "upper|trim(…)"; null when there is no filter.
  ExprPtr filters(bool must_begin);

  // Names that were read as variables since a macro began.
  struct Uses {
    bool varargs = false, kwargs = false, caller = false;
  };
  Uses uses;

 private:
  ExprPtr condition();
  ExprPtr disjunction();
  ExprPtr conjunction();
  ExprPtr negation();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filter = true);
  ExprPtr primary();
  ExprPtr target_item(bool with_attribute);
  ExprPtr parenthesized();
  ExprPtr tuple_items(bool with_condition, std::string_view end, bool may_be_empty);
  ExprPtr list();
  ExprPtr dict();
  ExprPtr postfix(ExprPtr operand);
  ExprPtr subscript(ExprPtr operand);
  ExprPtr call(ExprPtr operand);
  ExprPtr filtered(ExprPtr operand);
  ExprPtr filter(ExprPtr operand);
  ExprPtr test(ExprPtr operand);
  std::vector<Argument> arguments();
  bool at_tuple_end(std::string_view end) const;

  Tokens& tokens_;
};

// The whole template.
Body parse(std::string_view text);

}  // namespace swage::text::jinja
