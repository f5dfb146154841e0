#include <algorithm>

#include "access.h"
#include "arguments.h"
#include "filters.h"

namespace swage::text::jinja {
namespace {

Value default_value(Interpreter&, const Value& input, const Call& call) {
  const Items arguments =
      bind("default", call, {{"default_value", Value("")}, {"boolean", Value(false)}});
  const bool absent = input.is(Kind::kUndefined) || (is_true(arguments[1]) && !is_true(input));
  return absent ? arguments[0] : input;
}

Value attr(Interpreter& interpreter, const Value& input, const Call& call) {
  const Items arguments = bind("attr", call, {{"name"}});
  const std::string& name = text_argument("name", arguments[0]);
  if (!input.is(Kind::kDict)) return attribute(interpreter, input, name);
  // Unlike the dot, this filter does not look at the entries.
  const Value member = attribute(interpreter, Value(std::make_shared<Dict>()), name);
  if (member.is(Kind::kUndefined)) return member;
  return attribute(interpreter, input, name);
}

// The arguments behind the first `count`.
Call rest_of(const Call& call, size_t count) {
  Call rest = call;
  const auto taken = static_cast<int64_t>(std::min(count, rest.positional.size()));
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + taken);
  return rest;
}

// Jinja asks nothing of what is false, so None and 0 are empty here.
Items items_if_true(Interpreter& interpreter, const Value& input) {
  return is_true(input) ? items_of(interpreter.budget(), input) : Items();
}

Value map_attribute(Interpreter& interpreter, const Value& input, const Call& call) {
  const Items arguments = bind("map", call, {{"attribute"}, {"default", Value::undefined("")}});
  Items mapped;
  for (const Value& entry : items_if_true(interpreter, input)) {
    Value found = item_at_path(interpreter, entry, arguments[0]);
    const bool absent = found.is(Kind::kUndefined) && !arguments[1].is(Kind::kUndefined);
    mapped.push_back(absent ? arguments[1] : std::move(found));
  }
  return make_sequence(interpreter.budget(), Kind::kGenerator, std::move(mapped));
}

Value map(Interpreter& interpreter, const Value& input, const Call& call) {
  if (call.positional.empty()) return map_attribute(interpreter, input, call);
  const std::string& name = text_argument("the name of a filter", call.positional[0]);
  const Call rest = rest_of(call, 1);
  Items mapped;
  for (const Value& entry : items_if_true(interpreter, input)) {
    mapped.push_back(interpreter.filter(name, entry, rest));
  }
  return make_sequence(interpreter.budget(), Kind::kGenerator, std::move(mapped));
}

// Keeps the items, or those whose attribute, of which a test says what is wanted.
template <bool kWanted, bool kByAttribute>
Value select(Interpreter& interpreter, const Value& input, const Call& call) {
  const size_t own = kByAttribute ? 1 : 0;
  if (call.positional.size() < own) fail("Missing parameter for attribute name");
  const bool has_test = call.positional.size() > own;
  const Call rest = rest_of(call, own + 1);
  Items kept;
  for (Value& entry : items_if_true(interpreter, input)) {
    const Value looked_at =
        kByAttribute ? item_at_path(interpreter, entry, call.positional[0]) : entry;
    const bool holds =
        has_test ? interpreter.test(text_argument("the name of a test", call.positional[own]),
                                    looked_at, rest)
                 : is_true(looked_at);
    if (holds == kWanted) kept.push_back(std::move(entry));
  }
  return make_sequence(interpreter.budget(), Kind::kGenerator, std::move(kept));
}

}  // namespace

const Filters& selection_filters() {
  static const Filters table = {{"default", default_value},
                                {"d", default_value},
                                {"attr", attr},
                                {"map", map},
                                {"select", select<true, false>},
                                {"reject", select<false, false>},
                                {"selectattr", select<true, true>},
                                {"rejectattr", select<false, true>}};
  return table;
}

}  // namespace swage::text::jinja
