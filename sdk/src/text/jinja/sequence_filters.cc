#include <algorithm>

#include "access.h"
#include "arguments.h"
#include "filters.h"
#include "operators.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

// What sort, min, max and unique compare: the attribute asked for, without case unless it counts.
Value key_of(Interpreter& interpreter, const Value& entry, const Value& path, bool with_case) {
  Value key = path.is(Kind::kNone) ? entry : item_at_path(interpreter, entry, path);
  if (with_case || !key.is(Kind::kString)) return key;
  return make_text(interpreter.budget(), lower(key.text()));
}

std::vector<std::pair<Value, Value>> keyed(Interpreter& interpreter, const Value& input,
                                           const Value& path, bool with_case) {
  std::vector<std::pair<Value, Value>> entries;
  for (Value& entry : items_of(interpreter.budget(), input)) {
    Value key = key_of(interpreter, entry, path, with_case);
    entries.emplace_back(std::move(key), std::move(entry));
  }
  return entries;
}

// A merge sort of our own: it stays within bounds whatever the comparison says, and may throw.
void sort_entries(Budget* budget, std::vector<std::pair<Value, Value>>* entries, bool reversed) {
  const auto goes_first = [&](const auto& a, const auto& b) {
    return reversed ? is_less(budget, b.first, a.first) : is_less(budget, a.first, b.first);
  };
  auto& from = *entries;
  std::vector<std::pair<Value, Value>> to(from.size());
  for (size_t width = 1; width < from.size(); width *= 2) {
    for (size_t begin = 0; begin < from.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, from.size());
      const size_t end = std::min(begin + 2 * width, from.size());
      size_t left = begin, right = middle;
      for (size_t out = begin; out < end; ++out) {
        const bool take_right =
            left == middle || (right < end && goes_first(from[right], from[left]));
        to[out] = from[take_right ? right++ : left++];
      }
    }
    from.swap(to);
  }
}

Value length(Interpreter& interpreter, const Value& input, const Call& call) {
  bind("length", call, {});
  return Value(length_of(interpreter.budget(), input));
}

Value list(Interpreter& interpreter, const Value& input, const Call& call) {
  bind("list", call, {});
  return make_list(interpreter.budget(), items_of(interpreter.budget(), input));
}

Value first(Interpreter& interpreter, const Value& input, const Call& call) {
  bind("first", call, {});
  if (input.is(Kind::kGenerator)) {
    Sequence& rest = Value(input).sequence();
    if (rest.next < rest.items.size()) return rest.items[rest.next++];
  } else if (const Items items = items_of(interpreter.budget(), input); !items.empty()) {
    return items[0];
  }
  return Value::undefined("No first item, sequence was empty.");
}

Value last(Interpreter& interpreter, const Value& input, const Call& call) {
  bind("last", call, {});
  if (input.is(Kind::kGenerator)) fail("'generator' object is not reversible");
  const Items items = items_of(interpreter.budget(), input);
  if (!items.empty()) return items.back();
  return Value::undefined("No last item, sequence was empty.");
}

Value reverse(Interpreter& interpreter, const Value& input, const Call& call) {
  bind("reverse", call, {});
  Items items = items_of(interpreter.budget(), input);
  std::reverse(items.begin(), items.end());
  if (!input.is(Kind::kString)) {
    return make_sequence(interpreter.budget(), Kind::kGenerator, std::move(items));
  }
  Builder out(interpreter.budget());
  for (const Value& character : items) out << character.text();
  return Value(std::make_shared<const std::string>(out.release()));
}

Value items(Interpreter& interpreter, const Value& input, const Call& call) {
  bind("items", call, {});
  if (!input.is(Kind::kDict) && !input.is(Kind::kUndefined)) {
    fail("Can only get item pairs from a mapping, not from ", input.type_name());
  }
  Items pairs;
  if (input.is(Kind::kDict)) pairs = pairs_of(interpreter.budget(), input.dict());
  return make_sequence(interpreter.budget(), Kind::kGenerator, std::move(pairs));
}

Value dictsort(Interpreter& interpreter, const Value& input, const Call& call) {
  const Items arguments =
      bind("dictsort", call,
           {{"case_sensitive", Value(false)}, {"by", Value("key")}, {"reverse", Value(false)}});
  const std::string& by = text_argument("by", arguments[1]);
  if (by != "key" && by != "value") fail("You can only sort by either \"key\" or \"value\"");
  if (!input.is(Kind::kDict)) fail("'", input.type_name(), "' object has no attribute 'items'");
  const Value pairs = make_list(interpreter.budget(), pairs_of(interpreter.budget(), input.dict()));
  auto entries = keyed(interpreter, pairs, Value(int64_t{by == "value"}), is_true(arguments[0]));
  sort_entries(interpreter.budget(), &entries, is_true(arguments[2]));
  Items sorted;
  for (auto& [unused, entry] : entries) sorted.push_back(std::move(entry));
  return make_list(interpreter.budget(), std::move(sorted));
}

Value sort(Interpreter& interpreter, const Value& input, const Call& call) {
  const Items arguments =
      bind("sort", call,
           {{"reverse", Value(false)}, {"case_sensitive", Value(false)}, {"attribute", Value()}});
  auto entries = keyed(interpreter, input, arguments[2], is_true(arguments[1]));
  sort_entries(interpreter.budget(), &entries, is_true(arguments[0]));
  Items sorted;
  for (auto& [unused, entry] : entries) sorted.push_back(std::move(entry));
  return make_list(interpreter.budget(), std::move(sorted));
}

Value unique(Interpreter& interpreter, const Value& input, const Call& call) {
  const Items arguments =
      bind("unique", call, {{"case_sensitive", Value(false)}, {"attribute", Value()}});
  Dict seen;
  Items kept;
  for (auto& [key, entry] : keyed(interpreter, input, arguments[1], is_true(arguments[0]))) {
    if (is_hashable(key) && seen.find(key, interpreter.budget()) != nullptr) continue;
    seen.set(interpreter.budget(), std::move(key), Value());
    kept.push_back(std::move(entry));
  }
  return make_sequence(interpreter.budget(), Kind::kGenerator, std::move(kept));
}

template <bool kGreatest>
Value extreme(Interpreter& interpreter, const Value& input, const Call& call) {
  const Items arguments = bind(kGreatest ? "max" : "min", call,
                               {{"case_sensitive", Value(false)}, {"attribute", Value()}});
  const auto entries = keyed(interpreter, input, arguments[1], is_true(arguments[0]));
  if (entries.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  size_t best = 0;
  for (size_t i = 1; i < entries.size(); ++i) {
    const Value &candidate = entries[i].first, &before = entries[best].first;
    const bool better = kGreatest ? is_less(interpreter.budget(), before, candidate)
                                  : is_less(interpreter.budget(), candidate, before);
    if (better) best = i;
  }
  return entries[best].second;
}

Value sum(Interpreter& interpreter, const Value& input, const Call& call) {
  const Items arguments = bind("sum", call, {{"attribute", Value()}, {"start", Value(int64_t{0})}});
  Value total = arguments[1];
  for (const Value& entry : items_of(interpreter.budget(), input)) {
    total = calculate(
        interpreter.budget(), Operator::kAdd, total,
        arguments[0].is(Kind::kNone) ? entry : item_at_path(interpreter, entry, arguments[0]));
  }
  return total;
}

}  // namespace

const Filters& sequence_filters() {
  static const Filters table = {{"length", length}, {"count", length},       {"list", list},
                                {"first", first},   {"last", last},          {"reverse", reverse},
                                {"items", items},   {"dictsort", dictsort},  {"sort", sort},
                                {"unique", unique}, {"min", extreme<false>}, {"max", extreme<true>},
                                {"sum", sum}};
  return table;
}

}  // namespace swage::text::jinja
