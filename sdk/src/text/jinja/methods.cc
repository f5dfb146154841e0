#include "methods.h"

#include "arguments.h"
#include "loop.h"
#include "operators.h"

namespace swage::text::jinja {
namespace {

Value changes(Interpreter&, const Value& self, const Call&) {
  fail("this method changes a ", self.type_name(), ", which a template may not do");
}

Value dict_get(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind("get", call, {{"key"}, {"default", Value()}});
  if (!is_hashable(arguments[0])) fail("unhashable type: '", arguments[0].type_name(), "'");
  const Value* found = self.dict().find(arguments[0], interpreter.budget());
  return found != nullptr ? *found : arguments[1];
}

Value dict_keys(Interpreter& interpreter, const Value& self, const Call& call) {
  bind("keys", call, {});
  return make_sequence(interpreter.budget(), Kind::kView, items_of(interpreter.budget(), self),
                       "dict_keys");
}

Value dict_values(Interpreter& interpreter, const Value& self, const Call& call) {
  bind("values", call, {});
  Items values;
  for (const auto& [unused, value] : self.dict().entries()) values.push_back(value);
  return make_sequence(interpreter.budget(), Kind::kView, std::move(values), "dict_values");
}

Value dict_items(Interpreter& interpreter, const Value& self, const Call& call) {
  bind("items", call, {});
  return make_sequence(interpreter.budget(), Kind::kView,
                       pairs_of(interpreter.budget(), self.dict()), "dict_items");
}

// Values never change, so a copy is the value.
Value copy(Interpreter&, const Value& self, const Call& call) {
  bind("copy", call, {});
  return self;
}

Value count(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind("count", call, {{"value"}});
  int64_t found = 0;
  for (const Value& item : items_of(interpreter.budget(), self)) {
    found += is_equal(interpreter.budget(), item, arguments[0]) ? 1 : 0;
  }
  return Value(found);
}

Value index(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind("index", call, {{"value"}});
  const Items items = items_of(interpreter.budget(), self);
  for (size_t i = 0; i < items.size(); ++i) {
    if (is_equal(interpreter.budget(), items[i], arguments[0])) {
      return Value(static_cast<int64_t>(i));
    }
  }
  fail("the value is not in the ", self.type_name());
}

Value loop_cycle(Interpreter&, const Value& self, const Call& call) {
  if (call.positional.empty()) fail("no items for cycling given");
  const auto size = static_cast<int64_t>(call.positional.size());
  return call.positional[static_cast<size_t>(self.loop().index0 % size)];
}

Value loop_changed(Interpreter& interpreter, const Value& self, const Call& call) {
  LoopState& loop = self.loop();
  bool changed = !loop.has_changed || loop.last_changed.size() != call.positional.size();
  for (size_t i = 0; !changed && i < call.positional.size(); ++i) {
    changed = !is_equal(interpreter.budget(), loop.last_changed[i], call.positional[i]);
  }
  loop.has_changed = true;
  loop.last_changed = call.positional;
  return Value(changed);
}

const Methods& dict_methods() {
  static const Methods table = {
      {"get", dict_get},       {"keys", dict_keys},      {"values", dict_values},
      {"items", dict_items},   {"copy", copy},           {"update", changes},
      {"pop", changes},        {"popitem", changes},     {"clear", changes},
      {"setdefault", changes}, {"__setitem__", changes}, {"__delitem__", changes}};
  return table;
}

const Methods& list_methods() {
  static const Methods table = {{"count", count},     {"index", index},    {"copy", copy},
                                {"append", changes},  {"extend", changes}, {"insert", changes},
                                {"pop", changes},     {"remove", changes}, {"clear", changes},
                                {"reverse", changes}, {"sort", changes}};
  return table;
}

const Methods& tuple_methods() {
  static const Methods table = {{"count", count}, {"index", index}};
  return table;
}

const Methods& loop_methods() {
  static const Methods table = {{"cycle", loop_cycle}, {"changed", loop_changed}};
  return table;
}

const Methods* methods_of(Kind kind) {
  switch (kind) {
    case Kind::kString:
      return &text_methods();
    case Kind::kDict:
      return &dict_methods();
    case Kind::kList:
      return &list_methods();
    case Kind::kTuple:
    case Kind::kRange:
      return &tuple_methods();
    case Kind::kLoop:
      return &loop_methods();
    default:
      return nullptr;
  }
}

}  // namespace

Method find_method(Kind kind, std::string_view name) {
  const Methods* methods = methods_of(kind);
  if (methods == nullptr) return nullptr;
  const auto it = methods->find(name);
  return it == methods->end() ? nullptr : it->second;
}

}  // namespace swage::text::jinja
