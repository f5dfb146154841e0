#include <algorithm>
#include <optional>

#include "parser.h"

namespace swage::text::jinja {
namespace {

using Form = Expr::Kind;
constexpr int kMaxTreeDepth = 200;  // also of chains, which do not nest as written

template <class... Operands>
ExprPtr make(Form form, Position at, Operands... operands) {
  auto expr = std::make_unique<Expr>();
  expr->kind = form;
  expr->at = at;
  (expr->operands.push_back(std::move(operands)), ...);
  return expr;
}

// Every expression passes here once its parts are known.
ExprPtr finish(ExprPtr expr) {
  const auto include = [&](const ExprPtr& part) {
    if (part != nullptr) expr->depth = std::max(expr->depth, part->depth + 1);
  };
  for (const ExprPtr& operand : expr->operands) include(operand);
  for (const Argument& argument : expr->arguments) include(argument.value);
  if (expr->depth > kMaxTreeDepth) {
    fail_at(expr->at, "an expression of more than ", kMaxTreeDepth, " levels");
  }
  return expr;
}

template <class... Operands>
ExprPtr finished(Form form, Position at, Operands... operands) {
  return finish(make(form, at, std::move(operands)...));
}

ExprPtr constant(Position at, Value value) {
  ExprPtr expr = make(Form::kConstant, at);
  expr->constant = std::move(value);
  return expr;
}

ExprPtr calculation(Operator op, Position at, ExprPtr left, ExprPtr right) {
  ExprPtr expr = make(Form::kCalculate, at, std::move(left), std::move(right));
  expr->op = op;
  return finish(std::move(expr));
}

std::optional<Comparison> comparison_of(const Tokens& tokens) {
  const Token& token = tokens.current();
  if (token.is_name("in")) return Comparison::kIn;
  if (token.is_name("not") && tokens.next().is_name("in")) return Comparison::kNotIn;
  if (!token.is(Token::Type::kOperator)) return std::nullopt;
  if (token.text == "==") return Comparison::kEqual;
  if (token.text == "!=") return Comparison::kUnequal;
  if (token.text == "<") return Comparison::kLess;
  if (token.text == "<=") return Comparison::kLessEqual;
  if (token.text == ">") return Comparison::kGreater;
  if (token.text == ">=") return Comparison::kGreaterEqual;
  return std::nullopt;
}

// What may stand right of a test's name without parentheses.
bool begins_argument(const Token& token) {
  switch (token.type) {
    case Token::Type::kName:
      return token.text != "else" && token.text != "or" && token.text != "and";
    case Token::Type::kString:
    case Token::Type::kInteger:
    case Token::Type::kFloat:
      return true;
    default:
      return token.is_operator("(") || token.is_operator("[") || token.is_operator("{");
  }
}

}  // namespace

ExprPtr ExpressionParser::expression(bool with_condition) {
  const Tokens::Level level(&tokens_);
  return with_condition ? condition() : disjunction();
}

ExprPtr ExpressionParser::condition() {
  const Tokens::Level level(&tokens_);
  const Position at = tokens_.current().at;
  ExprPtr value = disjunction();
  while (tokens_.skip_name("if")) {
    ExprPtr test = disjunction();
    ExprPtr otherwise = tokens_.skip_name("else") ? condition() : nullptr;
    value = finished(Form::kCondition, at, std::move(value), std::move(test), std::move(otherwise));
  }
  return value;
}

ExprPtr ExpressionParser::disjunction() {
  ExprPtr left = conjunction();
  while (tokens_.current().is_name("or")) {
    const Position at = tokens_.current().at;
    tokens_.advance();
    left = finished(Form::kOr, at, std::move(left), conjunction());
  }
  return left;
}

ExprPtr ExpressionParser::conjunction() {
  ExprPtr left = negation();
  while (tokens_.current().is_name("and")) {
    const Position at = tokens_.current().at;
    tokens_.advance();
    left = finished(Form::kAnd, at, std::move(left), negation());
  }
  return left;
}

ExprPtr ExpressionParser::negation() {
  const Position at = tokens_.current().at;
  if (!tokens_.skip_name("not")) return comparison();
  const Tokens::Level level(&tokens_);
  return finished(Form::kNot, at, negation());
}

ExprPtr ExpressionParser::comparison() {
  ExprPtr first = sum();
  if (!comparison_of(tokens_)) return first;
  ExprPtr chain = make(Form::kCompare, tokens_.current().at, std::move(first));
  while (const std::optional<Comparison> comparison = comparison_of(tokens_)) {
    tokens_.advance();
    if (*comparison == Comparison::kNotIn) tokens_.advance();
    chain->comparisons.push_back(*comparison);
    chain->operands.push_back(sum());
  }
  return finish(std::move(chain));
}

ExprPtr ExpressionParser::sum() {
  ExprPtr left = concatenation();
  while (tokens_.current().is_operator("+") || tokens_.current().is_operator("-")) {
    const Token token = tokens_.current();
    tokens_.advance();
    left = calculation(token.text == "+" ? Operator::kAdd : Operator::kSubtract, token.at,
                       std::move(left), concatenation());
  }
  return left;
}

ExprPtr ExpressionParser::concatenation() {
  ExprPtr first = product();
  if (!tokens_.current().is_operator("~")) return first;
  ExprPtr chain = make(Form::kConcatenate, tokens_.current().at, std::move(first));
  while (tokens_.skip_operator("~")) chain->operands.push_back(product());
  return finish(std::move(chain));
}

ExprPtr ExpressionParser::product() {
  ExprPtr left = power();
  while (true) {
    const Token token = tokens_.current();
    Operator op = Operator::kMultiply;
    if (token.is_operator("/")) {
      op = Operator::kDivide;
    } else if (token.is_operator("//")) {
      op = Operator::kFloorDivide;
    } else if (token.is_operator("%")) {
      op = Operator::kModulo;
    } else if (!token.is_operator("*")) {
      return left;
    }
    tokens_.advance();
    left = calculation(op, token.at, std::move(left), power());
  }
}

ExprPtr ExpressionParser::power() {
  ExprPtr left = unary();
  while (tokens_.current().is_operator("**")) {
    const Position at = tokens_.current().at;
    tokens_.advance();
    left = calculation(Operator::kPower, at, std::move(left), unary());
  }
  return left;
}

ExprPtr ExpressionParser::unary(bool with_filter) {
  const Tokens::Level level(&tokens_);
  const Position at = tokens_.current().at;
  ExprPtr expr;
  if (tokens_.skip_operator("-")) {
    expr = finished(Form::kNegate, at, unary(false));
  } else if (tokens_.skip_operator("+")) {
    expr = finished(Form::kPositive, at, unary(false));
  } else {
    expr = primary();
  }
  expr = postfix(std::move(expr));
  return with_filter ? filtered(std::move(expr)) : std::move(expr);
}

ExprPtr ExpressionParser::primary() {
  const Token token = tokens_.current();
  switch (token.type) {
    case Token::Type::kName: {
      tokens_.advance();
      if (token.text == "true" || token.text == "True") return constant(token.at, Value(true));
      if (token.text == "false" || token.text == "False") return constant(token.at, Value(false));
      if (token.text == "none" || token.text == "None") return constant(token.at, Value());
      uses.varargs |= token.text == "varargs";
      uses.kwargs |= token.text == "kwargs";
      uses.caller |= token.text == "caller";
      ExprPtr name = make(Form::kName, token.at);
      name->text = token.text;
      return name;
    }
    case Token::Type::kString: {
      std::string text;
      for (; tokens_.current().is(Token::Type::kString); tokens_.advance()) {
        text += tokens_.current().text;
      }
      return constant(token.at, Value(std::make_shared<const std::string>(std::move(text))));
    }
    case Token::Type::kInteger:
      tokens_.advance();
      return constant(token.at, Value(token.integer));
    case Token::Type::kFloat:
      tokens_.advance();
      return constant(token.at, Value(token.real));
    default:
      if (token.is_operator("(")) return parenthesized();
      if (token.is_operator("[")) return list();
      if (token.is_operator("{")) return dict();
      tokens_.unexpected("an expression");
  }
}

ExprPtr ExpressionParser::parenthesized() {
  tokens_.advance();
  ExprPtr inner = tuple_items(true, "", true);
  tokens_.expect_operator(")");
  return inner;
}

ExprPtr ExpressionParser::tuple(bool with_condition, std::string_view end) {
  return tuple_items(with_condition, end, false);
}

bool ExpressionParser::at_tuple_end(std::string_view end) const {
  const Token& token = tokens_.current();
  return token.is(Token::Type::kVariableEnd) || token.is(Token::Type::kBlockEnd) ||
         token.is_operator(")") || (!end.empty() && token.is_name(end));
}

ExprPtr ExpressionParser::tuple_items(bool with_condition, std::string_view end,
                                      bool may_be_empty) {
  ExprPtr items = make(Form::kTuple, tokens_.current().at);
  bool has_comma = false;
  while (!at_tuple_end(end)) {
    items->operands.push_back(expression(with_condition));
    if (!tokens_.skip_operator(",")) break;
    has_comma = true;
  }
  if (!has_comma && items->operands.size() == 1) return std::move(items->operands[0]);
  if (items->operands.empty() && !may_be_empty) tokens_.unexpected("an expression");
  return finish(std::move(items));
}

ExprPtr ExpressionParser::list() {
  ExprPtr items = make(Form::kList, tokens_.current().at);
  tokens_.advance();
  while (!tokens_.current().is_operator("]")) {
    items->operands.push_back(expression());
    if (!tokens_.skip_operator(",")) break;
  }
  tokens_.expect_operator("]");
  return finish(std::move(items));
}

ExprPtr ExpressionParser::dict() {
  ExprPtr items = make(Form::kDict, tokens_.current().at);
  tokens_.advance();
  while (!tokens_.current().is_operator("}")) {
    items->operands.push_back(expression());
    tokens_.expect_operator(":");
    items->operands.push_back(expression());
    if (!tokens_.skip_operator(",")) break;
  }
  tokens_.expect_operator("}");
  return finish(std::move(items));
}

ExprPtr ExpressionParser::postfix(ExprPtr operand) {
  while (true) {
    const Token& token = tokens_.current();
    if (token.is_operator(".") || token.is_operator("[")) {
      operand = subscript(std::move(operand));
    } else if (token.is_operator("(")) {
      operand = call(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExprPtr ExpressionParser::subscript(ExprPtr operand) {
  const Position at = tokens_.current().at;
  if (tokens_.skip_operator(".")) {
    const Token member = tokens_.current();
    if (member.is(Token::Type::kInteger)) {
      tokens_.advance();
      return finished(Form::kItem, at, std::move(operand), constant(at, Value(member.integer)));
    }
    ExprPtr attribute = make(Form::kAttribute, at, std::move(operand));
    attribute->text = tokens_.expect_name("the name of an attribute");
    return finish(std::move(attribute));
  }
  tokens_.advance();
  ExprPtr parts[3];
  size_t count = 0;
  bool is_slice = false;
  while (!tokens_.current().is_operator("]")) {
    if (tokens_.skip_operator(":")) {
      is_slice = true;
      if (++count > 2) tokens_.unexpected("\"]\"");
    } else if (parts[count] == nullptr) {
      parts[count] = is_slice ? expression() : tuple(true, "");
    } else {
      tokens_.unexpected("\"]\"");
    }
  }
  if (!is_slice && parts[0] == nullptr) tokens_.unexpected("an expression");
  tokens_.advance();
  if (!is_slice) return finished(Form::kItem, at, std::move(operand), std::move(parts[0]));
  return finished(Form::kSlice, at, std::move(operand), std::move(parts[0]), std::move(parts[1]),
                  std::move(parts[2]));
}

std::vector<Argument> ExpressionParser::arguments() {
  using Passing = Argument::Kind;
  std::vector<Argument> list;
  tokens_.expect_operator("(");
  const auto has = [&list](Passing kind) {
    return std::any_of(list.begin(), list.end(),
                       [kind](const Argument& argument) { return argument.kind == kind; });
  };
  while (!tokens_.current().is_operator(")")) {
    Argument argument;
    const Position at = tokens_.current().at;
    bool misplaced = has(Passing::kNamedDict);
    if (tokens_.skip_operator("*")) {
      argument.kind = Passing::kPositionalList;
      misplaced |= has(Passing::kPositionalList);
    } else if (tokens_.skip_operator("**")) {
      argument.kind = Passing::kNamedDict;
    } else if (tokens_.current().is(Token::Type::kName) && tokens_.next().is_operator("=")) {
      argument.kind = Passing::kNamed;
      argument.name = tokens_.current().text;
      tokens_.advance();
      tokens_.advance();
    } else {
      misplaced |= has(Passing::kPositionalList) || has(Passing::kNamed);
    }
    if (misplaced) fail_at(at, "this argument may not follow those before it");
    argument.value = expression();
    list.push_back(std::move(argument));
    if (!tokens_.skip_operator(",")) break;
  }
  tokens_.expect_operator(")");
  return list;
}

ExprPtr ExpressionParser::call(ExprPtr operand) {
  ExprPtr expr = make(Form::kCall, tokens_.current().at, std::move(operand));
  expr->arguments = arguments();
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::call_of_macro() {
  ExprPtr expr = expression();
  if (expr->kind != Form::kCall) fail_at(expr->at, "a call block needs a call, like name(…)");
  return expr;
}

ExprPtr ExpressionParser::filtered(ExprPtr operand) {
  while (true) {
    const Token& token = tokens_.current();
    if (token.is_operator("|")) {
      tokens_.advance();
      operand = filter(std::move(operand));
    } else if (token.is_name("is")) {
      operand = test(std::move(operand));
    } else if (token.is_operator("(")) {
      operand = call(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExprPtr ExpressionParser::filter(ExprPtr operand) {
  ExprPtr expr = make(Form::kFilter, tokens_.current().at, std::move(operand));
  expr->text = tokens_.expect_name("the name of a filter");
  while (tokens_.skip_operator(".")) expr->text += "." + tokens_.expect_name("a name");
  if (tokens_.current().is_operator("(")) expr->arguments = arguments();
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::filters(bool must_begin) {
  ExprPtr chain;
  if (must_begin) chain = filter(nullptr);
  while (tokens_.skip_operator("|")) chain = filter(std::move(chain));
  return chain;
}

ExprPtr ExpressionParser::test(ExprPtr operand) {
  const Position at = tokens_.current().at;
  tokens_.advance();
  const bool negated = tokens_.skip_name("not");
  ExprPtr expr = make(Form::kTest, at, std::move(operand));
  expr->text = tokens_.expect_name("the name of a test");
  while (tokens_.skip_operator(".")) expr->text += "." + tokens_.expect_name("a name");
  if (tokens_.current().is_operator("(")) {
    expr->arguments = arguments();
  } else if (begins_argument(tokens_.current())) {
    if (tokens_.current().is_name("is")) tokens_.unexpected("\"and\" between two tests");
    Argument argument;
    argument.value = postfix(primary());
    expr->arguments.push_back(std::move(argument));
  }
  expr = finish(std::move(expr));
  return negated ? finished(Form::kNot, at, std::move(expr)) : std::move(expr);
}

ExprPtr ExpressionParser::target_item(bool with_attribute) {
  const Tokens::Level level(&tokens_);
  const Token token = tokens_.current();
  if (tokens_.skip_operator("(")) {
    ExprPtr inner = target(false);
    tokens_.expect_operator(")");
    return inner;
  }
  ExprPtr expr = make(Form::kName, token.at);
  expr->text = tokens_.expect_name("the name of a variable");
  static constexpr std::string_view kConstants[] = {"true",  "True", "false",
                                                    "False", "none", "None"};
  for (const std::string_view name : kConstants) {
    if (expr->text == name) fail_at(token.at, "cannot assign to \"", name, "\"");
  }
  if (!with_attribute || !tokens_.skip_operator(".")) return expr;
  ExprPtr attribute = make(Form::kAttribute, token.at, std::move(expr));
  attribute->text = tokens_.expect_name("the name of an attribute");
  return finish(std::move(attribute));
}

ExprPtr ExpressionParser::target(bool with_attribute) {
  const Position at = tokens_.current().at;
  ExprPtr first = target_item(with_attribute);
  if (!tokens_.current().is_operator(",")) return first;
  ExprPtr items = make(Form::kTuple, at, std::move(first));
  while (tokens_.skip_operator(",")) {
    const Token& token = tokens_.current();
    if (token.is_name("in") || token.is_operator("=") || token.is_operator(")")) break;
    items->operands.push_back(target_item(with_attribute));
  }
  return finish(std::move(items));
}

}  // namespace swage::text::jinja
