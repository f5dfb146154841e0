#include "interpreter.h"

#include "loop.h"
#include "repr.h"

namespace swage::text::jinja {

class Interpreter::Inner {
 public:
  explicit Inner(Interpreter* interpreter) : Inner(interpreter, interpreter->scope_) {}
  Inner(Interpreter* interpreter, std::shared_ptr<Scope> parent)
      : interpreter_(interpreter), before_(interpreter->scope_) {
    interpreter_->scope_ = std::make_shared<Scope>();
    interpreter_->scope_->parent = std::move(parent);
  }
  ~Inner() { interpreter_->scope_ = std::move(before_); }
  Inner(const Inner&) = delete;
  Inner& operator=(const Inner&) = delete;

 private:
  Interpreter* interpreter_;
  std::shared_ptr<Scope> before_;
};

Interpreter::Interpreter(const Limits& limits, std::optional<std::tm> now)
    : budget_(limits), now_(now), scope_(std::make_shared<Scope>()) {
  define_functions(this);
}

Interpreter::~Interpreter() {
  // Macros hold the scope they are in, and namespaces may hold themselves.
  for (const auto& scope : captured_) scope->variables.clear();
  for (const auto& space : namespaces_) space->members.clear();
}

std::shared_ptr<Namespace> Interpreter::make_namespace() {
  budget_.take(4 * kObjectBytes);
  namespaces_.push_back(std::make_shared<Namespace>());
  return namespaces_.back();
}

std::tm Interpreter::now() const {
  if (now_) return *now_;
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  localtime_r(&seconds, &local);
  return local;
}

Value Interpreter::call(const Value& callee, const Call& call) {
  if (callee.is(Kind::kUndefined)) fail(callee.undefined_message());
  if (!callee.is(Kind::kFunction)) fail("'", callee.type_name(), "' object is not callable");
  return callee.function().run(*this, call);
}

std::string Interpreter::run(const Body& body) {
  const Inner inner(this);
  Builder out(&budget_);
  execute(body, &out);
  return out.release();
}

Interpreter::Flow Interpreter::execute(const Body& body, Builder* out) {
  const Budget::Level level(&budget_);
  for (const Statement& statement : body) {
    budget_.step();
    if (const Flow flow = execute_one(statement, out); flow != Flow::kNext) return flow;
    budget_.check_output(out->text().size());
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::execute_one(const Statement& statement, Builder* out) {
  using Tag = Statement::Kind;
  switch (statement.kind) {
    case Tag::kText:
      *out << statement.text;
      break;
    case Tag::kOutput:
      append_str(evaluate(*statement.value), out);
      break;
    case Tag::kFor:
      execute_for(statement, out);
      break;
    case Tag::kIf:
      return execute_if(statement, out);
    case Tag::kSet:
      assign(*statement.target, evaluate(*statement.value));
      break;
    case Tag::kSetBlock:
      execute_set_block(statement);
      break;
    case Tag::kMacro:
      scope_->variables[statement.text] = make_macro(statement);
      break;
    case Tag::kCallBlock:
      execute_call_block(statement, out);
      break;
    case Tag::kFilterBlock:
      execute_filter_block(statement, out);
      break;
    case Tag::kWith:
      return execute_with(statement, out);
    case Tag::kGeneration: {
      const Inner inner(this);
      execute(statement.body, out);
      break;
    }
    case Tag::kBreak:
      return Flow::kBreak;
    case Tag::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::execute_if(const Statement& chain, Builder* out) {
  for (const Statement::Branch& branch : chain.branches) {
    if (is_true(evaluate(*branch.condition))) return execute(branch.body, out);
  }
  return execute(chain.otherwise, out);
}

Interpreter::Flow Interpreter::execute_with(const Statement& with, Builder* out) {
  Items values;
  for (const Statement::Parameter& variable : with.parameters) {
    values.push_back(evaluate(*variable.value));
  }
  const Inner inner(this);
  for (size_t i = 0; i < values.size(); ++i) {
    scope_->variables[with.parameters[i].name] = std::move(values[i]);
  }
  return execute(with.body, out);
}

// Each iteration has variables of its own. False = the loop was left.
bool Interpreter::run_iteration(const Statement& loop, const Value& state, Builder* out) {
  const Inner inner(this);
  scope_->variables["loop"] = state;
  unpack(*loop.target, state.loop().current);
  return execute(loop.body, out) != Flow::kBreak;
}

void Interpreter::execute_for(const Statement& loop, Builder* out) {
  LoopState::Condition condition;
  if (loop.condition != nullptr) {
    // The condition sees the item, but not yet `loop`; it may be asked within an iteration.
    condition = [this, &loop, outside = scope_](const Value& item) {
      const Inner inner(this, outside);
      unpack(*loop.target, item);
      return is_true(evaluate(*loop.condition));
    };
  }
  Items items = items_of(&budget_, evaluate(*loop.value));
  budget_.take(items.size(), sizeof(Value));
  const Value state(std::make_shared<LoopState>(std::move(items), std::move(condition)));
  bool ran = false;
  while (state.loop().advance()) {
    ran = true;
    budget_.step();
    if (!run_iteration(loop, state, out)) break;
  }
  if (!ran) {
    const Inner inner(this);
    execute(loop.otherwise, out);
  }
}

Value Interpreter::captured_text(const Body& body) {
  const Inner inner(this);
  Builder out(&budget_);
  execute(body, &out);
  return Value(std::make_shared<const std::string>(out.release()));
}

Value Interpreter::filter_text(const Expr& filters, const Value& text) {
  const Value* before = block_text_;
  block_text_ = &text;
  Value filtered = evaluate(filters);
  block_text_ = before;
  return filtered;
}

void Interpreter::execute_set_block(const Statement& set) {
  const Value text = captured_text(set.body);
  assign(*set.target, set.value == nullptr ? text : filter_text(*set.value, text));
}

void Interpreter::execute_filter_block(const Statement& block, Builder* out) {
  append_str(filter_text(*block.value, captured_text(block.body)), out);
}

void Interpreter::assign(const Expr& target, const Value& value) {
  if (target.kind != Expr::Kind::kAttribute) {
    unpack(target, value);
    return;
  }
  const Expr& name = *target.operands[0];
  const Value owner = evaluate(name);
  if (!owner.is(Kind::kNamespace)) {
    fail_at(target.at, "cannot assign to an attribute of \"", name.text, "\", which is ",
            owner.type_name(), " and no namespace");
  }
  budget_.take(2 * kObjectBytes + target.text.size());
  owner.space().members[target.text] = value;
}

void Interpreter::unpack(const Expr& target, const Value& value) {
  if (target.kind == Expr::Kind::kName) {
    scope_->variables[target.text] = value;
    return;
  }
  if (target.kind == Expr::Kind::kAttribute) {
    assign(target, value);
    return;
  }
  const Items items = items_of(&budget_, value);
  if (items.size() != target.operands.size()) {
    fail_at(target.at, "cannot unpack ", items.size(), " values into ", target.operands.size(),
            " names");
  }
  for (size_t i = 0; i < items.size(); ++i) unpack(*target.operands[i], items[i]);
}

Value Interpreter::make_macro(const Statement& macro) {
  for (auto scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent) {
    budget_.take(8 * kObjectBytes);
    scope->captured = true;
    captured_.push_back(scope);
  }
  auto function = std::make_shared<Function>();
  function->name = macro.text;
  function->run = [&macro, scope = scope_](Interpreter& running, const Call& call) {
    return running.run_macro(macro, scope, call);
  };
  return Value(std::move(function));
}

Value Interpreter::run_macro(const Statement& macro, const std::shared_ptr<Scope>& scope,
                             const Call& call) {
  const Budget::Level level(&budget_);
  const Inner inner(this, scope);
  bind_parameters(macro, call);
  Builder out(&budget_);
  execute(macro.body, &out);
  return Value(std::make_shared<const std::string>(out.release()));
}

void Interpreter::bind_parameters(const Statement& macro, const Call& call) {
  const size_t count = macro.parameters.size();
  const auto named = [&call](std::string_view name) -> const Value* {
    for (const auto& [key, value] : call.named) {
      if (key == name) return &value;
    }
    return nullptr;
  };
  for (size_t i = 0; i < count; ++i) {
    const Statement::Parameter& parameter = macro.parameters[i];
    const Value* given = i < call.positional.size() ? &call.positional[i] : named(parameter.name);
    Value value;
    if (given != nullptr) {
      value = *given;
    } else if (parameter.value != nullptr) {
      value = evaluate(*parameter.value);
    } else {
      value = Value::undefined(absl::StrCat("parameter '", parameter.name, "' was not provided"));
    }
    scope_->variables[parameter.name] = std::move(value);
  }
  bind_rest(macro, call);
}

void Interpreter::bind_rest(const Statement& macro, const Call& call) {
  const size_t count = macro.parameters.size();
  if (call.positional.size() > count && !macro.uses_varargs) {
    fail("macro '", macro.text, "' takes not more than ", count, " argument(s), ",
         call.positional.size(), " given");
  }
  auto rest = std::make_shared<Dict>();
  Value caller = Value::undefined("No caller defined");
  for (const auto& [name, value] : call.named) {
    size_t place = 0;
    while (place < count && macro.parameters[place].name != name) ++place;
    if (place < count && place >= call.positional.size()) continue;
    if (name == "caller" && macro.uses_caller) {
      caller = value;
    } else if (macro.uses_kwargs) {
      rest->set(&budget_, make_text(&budget_, name), value);
    } else {
      fail("macro '", macro.text, "' takes no keyword argument '", name, "'");
    }
  }
  if (macro.uses_kwargs) scope_->variables["kwargs"] = Value(std::move(rest));
  if (macro.uses_caller && scope_->variables.count("caller") == 0) {
    scope_->variables["caller"] = std::move(caller);
  }
  if (macro.uses_varargs) {
    const auto first = static_cast<int64_t>(std::min(count, call.positional.size()));
    scope_->variables["varargs"] =
        make_tuple(&budget_, Items(call.positional.begin() + first, call.positional.end()));
  }
}

void Interpreter::execute_call_block(const Statement& block, Builder* out) {
  const Expr& target = *block.value;
  const Value callee = evaluate(*target.operands[0]);
  Call arguments = evaluate_arguments(target);
  arguments.named.emplace_back("caller", make_macro(block));
  append_str(call(callee, arguments), out);
}

}  // namespace swage::text::jinja
