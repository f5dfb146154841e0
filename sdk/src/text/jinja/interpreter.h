#pragma once
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "syntax.h"

namespace swage::text::jinja {

// Variables of a block; what it lacks is looked for in the block around it.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::map<std::string, Value, std::less<>> variables;
  bool captured = false;  // by a macro, which then holds it
};

// One rendering of one template.
class Interpreter {
 public:
  // `now` is what strftime_now tells; without it, the local time.
  Interpreter(const Limits& limits, std::optional<std::tm> now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  void define(std::string name, Value value) {
    scope_->variables[std::move(name)] = std::move(value);
  }
  std::string run(const Body& body);

  // For filters, tests and functions.
  Budget* budget() { return &budget_; }
  Value filter(std::string_view name, const Value& value, const Call& call);
  bool test(std::string_view name, const Value& value, const Call& call);
  Value call(const Value& callee, const Call& call);
  // Namespaces may hold each other, so they live as long as the rendering.
  std::shared_ptr<Namespace> make_namespace();
  std::tm now() const;

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class Inner;  // a scope within the current one, while it lives

  // statements
  Flow execute(const Body& body, Builder* out);
  Flow execute_one(const Statement& statement, Builder* out);
  Flow execute_if(const Statement& chain, Builder* out);
  Flow execute_with(const Statement& with, Builder* out);
  void execute_for(const Statement& loop, Builder* out);
  bool run_iteration(const Statement& loop, const Value& state, Builder* out);
  void execute_set_block(const Statement& set);
  void execute_filter_block(const Statement& block, Builder* out);
  Value captured_text(const Body& body);
  Value filter_text(const Expr& filters, const Value& text);
  void assign(const Expr& target, const Value& value);
  void unpack(const Expr& target, const Value& value);

  // macros
  Value make_macro(const Statement& macro);
  Value run_macro(const Statement& macro, const std::shared_ptr<Scope>& scope, const Call& call);
  void bind_parameters(const Statement& macro, const Call& call);
  void bind_rest(const Statement& macro, const Call& call);
  void execute_call_block(const Statement& block, Builder* out);

  // expressions
  Value evaluate(const Expr& expr);
  Value evaluate_kind(const Expr& expr);
  Value look_up(const Expr& name);
  Value evaluate_items(const Expr& expr);
  Value evaluate_dict(const Expr& expr);
  Value evaluate_item(const Expr& expr);
  Value evaluate_slice(const Expr& expr);
  Value evaluate_call(const Expr& expr);
  Value evaluate_filter(const Expr& expr);
  Value evaluate_test(const Expr& expr);
  Value evaluate_junction(const Expr& expr);
  Value evaluate_calculation(const Expr& expr);
  Value evaluate_concatenation(const Expr& expr);
  Value evaluate_comparison(const Expr& expr);
  Value evaluate_condition(const Expr& expr);
  Call evaluate_arguments(const Expr& expr);
  void add_dict(const Value& value, Call* call);

  Budget budget_;
  std::optional<std::tm> now_;
  std::shared_ptr<Scope> scope_;
  const Value* block_text_ = nullptr;  // what the first filter of a filter block is applied to
  std::vector<std::shared_ptr<Scope>> captured_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

// range, dict, namespace, raise_exception and strftime_now.
void define_functions(Interpreter* interpreter);

}  // namespace swage::text::jinja
