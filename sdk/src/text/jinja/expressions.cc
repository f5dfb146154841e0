#include "access.h"
#include "interpreter.h"
#include "repr.h"

namespace swage::text::jinja {
namespace {

using Form = Expr::Kind;

}  // namespace

Value Interpreter::evaluate(const Expr& expr) {
  const Budget::Level level(&budget_);
  budget_.step();
  try {
    return evaluate_kind(expr);
  } catch (Error& error) {
    if (!error.located()) error.locate(expr.at);
    throw;
  }
}

Value Interpreter::evaluate_kind(const Expr& expr) {
  switch (expr.kind) {
    case Form::kConstant:
      return expr.constant;
    case Form::kName:
      return look_up(expr);
    case Form::kList:
    case Form::kTuple:
      return evaluate_items(expr);
    case Form::kDict:
      return evaluate_dict(expr);
    case Form::kAttribute:
      return attribute(*this, evaluate(*expr.operands[0]), expr.text);
    case Form::kItem:
      return evaluate_item(expr);
    case Form::kSlice:
      return evaluate_slice(expr);
    case Form::kCall:
      return evaluate_call(expr);
    case Form::kFilter:
      return evaluate_filter(expr);
    case Form::kTest:
      return evaluate_test(expr);
    case Form::kNot:
      return Value(!is_true(evaluate(*expr.operands[0])));
    case Form::kNegate:
      return negate(evaluate(*expr.operands[0]));
    case Form::kPositive:
      return negate(negate(evaluate(*expr.operands[0])));
    case Form::kAnd:
    case Form::kOr:
      return evaluate_junction(expr);
    case Form::kCalculate:
      return evaluate_calculation(expr);
    case Form::kConcatenate:
      return evaluate_concatenation(expr);
    case Form::kCompare:
      return evaluate_comparison(expr);
    case Form::kCondition:
      return evaluate_condition(expr);
  }
  return Value();
}

Value Interpreter::look_up(const Expr& name) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    const auto it = scope->variables.find(name.text);
    if (it != scope->variables.end()) return it->second;
  }
  return make_undefined(&budget_, absl::StrCat("'", name.text, "' is undefined"));
}

Value Interpreter::evaluate_items(const Expr& expr) {
  Items items;
  for (const ExprPtr& operand : expr.operands) items.push_back(evaluate(*operand));
  return make_sequence(&budget_, expr.kind == Form::kList ? Kind::kList : Kind::kTuple,
                       std::move(items));
}

Value Interpreter::evaluate_dict(const Expr& expr) {
  auto dict = std::make_shared<Dict>();
  for (size_t i = 0; i < expr.operands.size(); i += 2) {
    Value key = evaluate(*expr.operands[i]);
    dict->set(&budget_, std::move(key), evaluate(*expr.operands[i + 1]));
  }
  return Value(std::move(dict));
}

Value Interpreter::evaluate_item(const Expr& expr) {
  const Value owner = evaluate(*expr.operands[0]);
  return item(*this, owner, evaluate(*expr.operands[1]));
}

Value Interpreter::evaluate_slice(const Expr& expr) {
  Value parts[4];
  for (size_t i = 0; i < 4; ++i) {
    if (expr.operands[i] != nullptr) parts[i] = evaluate(*expr.operands[i]);
  }
  return slice(&budget_, parts[0], parts[1], parts[2], parts[3]);
}

Value Interpreter::evaluate_call(const Expr& expr) {
  const Value callee = evaluate(*expr.operands[0]);
  return call(callee, evaluate_arguments(expr));
}

Value Interpreter::evaluate_filter(const Expr& expr) {
  const Value input = expr.operands[0] == nullptr ? *block_text_ : evaluate(*expr.operands[0]);
  return filter(expr.text, input, evaluate_arguments(expr));
}

Value Interpreter::evaluate_test(const Expr& expr) {
  const Value input = evaluate(*expr.operands[0]);
  return Value(test(expr.text, input, evaluate_arguments(expr)));
}

Value Interpreter::evaluate_junction(const Expr& expr) {
  Value left = evaluate(*expr.operands[0]);
  if (is_true(left) == (expr.kind == Form::kOr)) return left;
  return evaluate(*expr.operands[1]);
}

Value Interpreter::evaluate_calculation(const Expr& expr) {
  const Value left = evaluate(*expr.operands[0]);
  return calculate(&budget_, expr.op, left, evaluate(*expr.operands[1]));
}

Value Interpreter::evaluate_concatenation(const Expr& expr) {
  Builder out(&budget_);
  for (const ExprPtr& operand : expr.operands) append_str(evaluate(*operand), &out);
  return Value(std::make_shared<const std::string>(out.release()));
}

Value Interpreter::evaluate_comparison(const Expr& expr) {
  Value left = evaluate(*expr.operands[0]);
  for (size_t i = 0; i < expr.comparisons.size(); ++i) {
    Value right = evaluate(*expr.operands[i + 1]);
    if (!compare(&budget_, expr.comparisons[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::evaluate_condition(const Expr& expr) {
  if (is_true(evaluate(*expr.operands[1]))) return evaluate(*expr.operands[0]);
  if (expr.operands[2] != nullptr) return evaluate(*expr.operands[2]);
  return Value::undefined("the inline if-expression has no else and its condition is false");
}

void Interpreter::add_dict(const Value& value, Call* call) {
  if (!value.is(Kind::kDict)) fail("argument after ** must be a mapping, not ", value.type_name());
  for (const auto& [key, entry] : value.dict().entries()) {
    if (!key.is(Kind::kString)) fail("keywords must be strings");
    budget_.take(kObjectBytes + key.text().size());
    call->named.emplace_back(key.text(), entry);
  }
}

Call Interpreter::evaluate_arguments(const Expr& expr) {
  Call call;
  for (const Argument& argument : expr.arguments) {
    Value value = evaluate(*argument.value);
    switch (argument.kind) {
      case Argument::Kind::kPositional:
        call.positional.push_back(std::move(value));
        break;
      case Argument::Kind::kNamed:
        call.named.emplace_back(argument.name, std::move(value));
        break;
      case Argument::Kind::kPositionalList:
        for (Value& item : items_of(&budget_, value)) call.positional.push_back(std::move(item));
        break;
      case Argument::Kind::kNamedDict:
        add_dict(value, &call);
        break;
    }
  }
  return call;
}

}  // namespace swage::text::jinja
