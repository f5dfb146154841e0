// What stands behind "is", which Jinja calls tests.
#include <map>

#include "arguments.h"
#include "interpreter.h"
#include "operators.h"
#include "repr.h"
#include "swage/suggest.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

using Check = bool (*)(Interpreter&, const Value& value, const Call&);

template <bool (*kPredicate)(const Value&)>
bool plain(Interpreter&, const Value& value, const Call& call) {
  bind("this test", call, {});
  return kPredicate(value);
}

template <Comparison kComparison>
bool compared(Interpreter& interpreter, const Value& value, const Call& call) {
  const Items arguments = bind("this test", call, {{"other"}});
  return compare(interpreter.budget(), kComparison, value, arguments[0]);
}

template <Kind kKind>
bool is_kind(const Value& value) {
  return value.is(kKind);
}

bool is_defined(const Value& value) { return !value.is(Kind::kUndefined); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_exactly_true(const Value& value) { return value.is(Kind::kBool) && value.integer() != 0; }
bool is_exactly_false(const Value& value) { return value.is(Kind::kBool) && value.integer() == 0; }

bool is_iterable(const Value& value) {
  return value.is(Kind::kUndefined) || value.is(Kind::kString) || value.is_sequence() ||
         value.is(Kind::kDict) || value.is(Kind::kRange) || value.is(Kind::kLoop);
}

bool is_sequence(const Value& value) {
  return is_iterable(value) && !value.is(Kind::kView) && !value.is(Kind::kGenerator) &&
         !value.is(Kind::kLoop);
}

bool is_callable(const Value& value) {
  return value.is(Kind::kFunction) || value.is(Kind::kUndefined) || value.is(Kind::kLoop);
}

Value remainder(Interpreter& interpreter, const Value& value, int64_t divisor) {
  return calculate(interpreter.budget(), Operator::kModulo, value, Value(divisor));
}

template <int64_t kRest>
bool has_rest(Interpreter& interpreter, const Value& value, const Call& call) {
  bind("this test", call, {});
  if (!value.is_number()) fail("a number is required, not ", value.type_name());
  return remainder(interpreter, value, 2).number() == kRest;
}

bool divisible_by(Interpreter& interpreter, const Value& value, const Call& call) {
  const Items arguments = bind("divisibleby", call, {{"num"}});
  if (!value.is_number()) fail("a number is required, not ", value.type_name());
  return remainder(interpreter, value, integer_argument("num", arguments[0])).number() == 0;
}

bool same_as(Interpreter&, const Value& value, const Call& call) {
  const Items arguments = bind("sameas", call, {{"other"}});
  const Value& other = arguments[0];
  if (value.kind() != other.kind()) return false;
  if (value.is_integer()) return value.integer() == other.integer();
  return value.is(Kind::kNone) ||
         (value.identity() != nullptr && value.identity() == other.identity());
}

template <bool (*kPredicate)(std::string_view)>
bool is_cased(Interpreter& interpreter, const Value& value, const Call& call) {
  bind("this test", call, {});
  const Value text = to_text(interpreter.budget(), value);
  interpreter.budget()->scan(text.text().size());
  return kPredicate(text.text());
}

const std::map<std::string_view, Check>& checks() {
  static const std::map<std::string_view, Check> table = {
      {"defined", plain<is_defined>},
      {"undefined", plain<is_kind<Kind::kUndefined>>},
      {"none", plain<is_kind<Kind::kNone>>},
      {"string", plain<is_kind<Kind::kString>>},
      {"mapping", plain<is_kind<Kind::kDict>>},
      {"boolean", plain<is_kind<Kind::kBool>>},
      {"integer", plain<is_kind<Kind::kInt>>},
      {"float", plain<is_kind<Kind::kFloat>>},
      {"number", plain<is_number>},
      {"true", plain<is_exactly_true>},
      {"false", plain<is_exactly_false>},
      {"iterable", plain<is_iterable>},
      {"sequence", plain<is_sequence>},
      {"callable", plain<is_callable>},
      {"odd", has_rest<1>},
      {"even", has_rest<0>},
      {"divisibleby", divisible_by},
      {"sameas", same_as},
      {"upper", is_cased<is_upper>},
      {"lower", is_cased<is_lower>},
      {"eq", compared<Comparison::kEqual>},
      {"equalto", compared<Comparison::kEqual>},
      {"==", compared<Comparison::kEqual>},
      {"ne", compared<Comparison::kUnequal>},
      {"!=", compared<Comparison::kUnequal>},
      {"lt", compared<Comparison::kLess>},
      {"lessthan", compared<Comparison::kLess>},
      {"<", compared<Comparison::kLess>},
      {"le", compared<Comparison::kLessEqual>},
      {"<=", compared<Comparison::kLessEqual>},
      {"gt", compared<Comparison::kGreater>},
      {"greaterthan", compared<Comparison::kGreater>},
      {">", compared<Comparison::kGreater>},
      {"ge", compared<Comparison::kGreaterEqual>},
      {">=", compared<Comparison::kGreaterEqual>},
      {"in", compared<Comparison::kIn>}};
  return table;
}

}  // namespace

bool Interpreter::test(std::string_view name, const Value& value, const Call& call) {
  const auto it = checks().find(name);
  if (it == checks().end()) {
    std::vector<std::string> known;
    for (const auto& [other, unused] : checks()) known.emplace_back(other);
    fail("there is no test named \"", name, "\"", suggestion(name, known));
  }
  return it->second(*this, value, call);
}

}  // namespace swage::text::jinja
