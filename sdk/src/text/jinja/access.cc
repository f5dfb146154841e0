#include "access.h"

#include <algorithm>
#include <optional>

#include "loop.h"
#include "methods.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

constexpr int64_t kMaxShownName = 100;

// A template chooses the length of names; messages stay short.
std::string shortened(std::string_view name) {
  return std::string(name.substr(0, byte_offset(name, kMaxShownName)));
}

Value no_attribute(Budget* budget, const Value& value, std::string_view name) {
  const std::string owner =
      value.is(Kind::kNone) ? "None" : absl::StrCat(value.type_name(), " object");
  return make_undefined(budget,
                        absl::StrCat("'", owner, "' has no attribute '", shortened(name), "'"));
}

Value no_element(Budget* budget, const Value& value, const Value& key) {
  if (key.is(Kind::kString)) return no_attribute(budget, value, key.text());
  const std::string shown =
      key.is_integer() ? absl::StrCat(key.integer()) : absl::StrCat("of type ", key.type_name());
  return make_undefined(budget, absl::StrCat(value.type_name(), " object has no element ", shown));
}

std::optional<Value> loop_member(Interpreter& interpreter, const Value& value,
                                 std::string_view name) {
  LoopState& loop = value.loop();
  if (name == "index") return Value(loop.index0 + 1);
  if (name == "index0") return Value(loop.index0);
  if (name == "first") return Value(loop.index0 == 0);
  if (name == "last") return Value(loop.peek() == nullptr);
  if (name == "length") return Value(loop.length());
  if (name == "revindex") return Value(loop.length() - loop.index0);
  if (name == "revindex0") return Value(loop.length() - loop.index0 - 1);
  // These count recursion, which there is none of.
  if (name == "depth") return Value(int64_t{1});
  if (name == "depth0") return Value(int64_t{0});
  if (name == "previtem") return loop.before;
  if (name == "nextitem") {
    const Value* next = loop.peek();
    return next != nullptr ? *next : Value::undefined("there is no next item");
  }
  return std::nullopt;
}

// Method or member that the type gives, whatever the value holds.
std::optional<Value> own_member(Interpreter& interpreter, const Value& value,
                                std::string_view name) {
  if (value.is(Kind::kLoop)) {
    if (auto member = loop_member(interpreter, value, name)) return member;
  }
  if (value.is(Kind::kNamespace)) {
    const auto it = value.space().members.find(name);
    if (it != value.space().members.end()) return it->second;
  }
  const Method method = find_method(value.kind(), name);
  if (method == nullptr) return std::nullopt;
  interpreter.budget()->take(3 * kObjectBytes);
  auto bound = std::make_shared<Function>();
  bound->name = name;
  bound->run = [method, value](Interpreter& running, const Call& call) {
    return method(running, value, call);
  };
  return Value(std::move(bound));
}

// An index from the end, or beyond it, is brought into 0 … length; nullopt = it is outside.
std::optional<int64_t> place(int64_t index, int64_t length) {
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  return index;
}

std::optional<Value> element(Budget* budget, const Value& value, int64_t index) {
  switch (value.kind()) {
    case Kind::kList:
    case Kind::kTuple: {
      const Items& items = value.sequence().items;
      const auto at = place(index, static_cast<int64_t>(items.size()));
      return at ? std::optional<Value>(items[static_cast<size_t>(*at)]) : std::nullopt;
    }
    case Kind::kRange: {
      const auto at = place(index, value.range().size());
      if (!at) return std::nullopt;
      return Value(value.range().start + *at * value.range().step);
    }
    case Kind::kString: {
      budget->scan(value.text().size());
      const auto at = place(index, count_characters(value.text()));
      if (!at) return std::nullopt;
      const size_t begin = byte_offset(value.text(), *at);
      const std::string_view rest = std::string_view(value.text()).substr(begin);
      return make_text(budget, std::string(rest.substr(0, byte_offset(rest, 1))));
    }
    default:
      return std::nullopt;
  }
}

// Python's rules for the bounds of a slice.
Range slice_range(const Value& start, const Value& stop, const Value& step, int64_t length) {
  const auto number = [](const Value& bound, int64_t fallback) {
    if (bound.is(Kind::kNone)) return fallback;
    if (bound.is(Kind::kUndefined)) fail(bound.undefined_message());
    if (!bound.is_integer())
      fail("slice indices must be integers or None, not ", bound.type_name());
    return bound.integer();
  };
  Range range;
  range.step = number(step, 1);
  if (range.step == 0) fail("slice step cannot be zero");
  range.step = std::clamp<int64_t>(range.step, -INT64_MAX, INT64_MAX);
  const int64_t low = range.step < 0 ? -1 : 0, high = range.step < 0 ? length - 1 : length;
  const auto bound = [&](const Value& given, int64_t fallback) {
    if (given.is(Kind::kNone)) return fallback;
    int64_t index = number(given, 0);
    if (index < 0) index += length;
    return std::clamp(index, low, high);
  };
  range.start = bound(start, range.step < 0 ? high : low);
  range.stop = bound(stop, range.step < 0 ? low : high);
  return range;
}

Value slice_text(Budget* budget, const std::string& text, const Range& range) {
  if (range.step == 1) {
    const size_t begin = byte_offset(text, range.start);
    const std::string_view rest = std::string_view(text).substr(begin);
    return make_text(budget, std::string(rest.substr(0, byte_offset(rest, range.size()))));
  }
  std::vector<std::string_view> characters;
  budget->take(text.size(), sizeof(std::string_view));
  for (const std::string_view character : Characters(text)) characters.push_back(character);
  std::string out;
  for (int64_t i = 0; i < range.size(); ++i) {
    out += characters[static_cast<size_t>(range.start + i * range.step)];
  }
  return make_text(budget, std::move(out));
}

Value slice_items(Budget* budget, const Value& value, const Range& range) {
  const Items& items = value.sequence().items;
  Items taken;
  for (int64_t i = 0; i < range.size(); ++i) {
    taken.push_back(items[static_cast<size_t>(range.start + i * range.step)]);
  }
  return make_sequence(budget, value.kind(), std::move(taken));
}

}  // namespace

Value attribute(Interpreter& interpreter, const Value& value, std::string_view name) {
  if (value.is(Kind::kUndefined)) fail(value.undefined_message());
  if (auto member = own_member(interpreter, value, name)) return *std::move(member);
  if (value.is(Kind::kDict)) {
    if (const Value* entry = value.dict().find(name)) return *entry;
  }
  return no_attribute(interpreter.budget(), value, name);
}

Value item(Interpreter& interpreter, const Value& value, const Value& key) {
  if (value.is(Kind::kUndefined)) fail(value.undefined_message());
  if (value.is(Kind::kDict)) {
    const Value* entry = is_hashable(key) ? value.dict().find(key, interpreter.budget()) : nullptr;
    if (entry != nullptr) return *entry;
  } else if (key.is_integer()) {
    if (auto found = element(interpreter.budget(), value, key.integer())) return *std::move(found);
  }
  if (key.is(Kind::kString)) {
    if (auto member = own_member(interpreter, value, key.text())) return *std::move(member);
  }
  return no_element(interpreter.budget(), value, key);
}

Value slice(Budget* budget, const Value& value, const Value& start, const Value& stop,
            const Value& step) {
  switch (value.kind()) {
    case Kind::kString: {
      budget->scan(value.text().size());
      const Range range = slice_range(start, stop, step, count_characters(value.text()));
      return slice_text(budget, value.text(), range);
    }
    case Kind::kList:
    case Kind::kTuple: {
      const auto length = static_cast<int64_t>(value.sequence().items.size());
      return slice_items(budget, value, slice_range(start, stop, step, length));
    }
    case Kind::kRange: {
      const Range &whole = value.range(), part = slice_range(start, stop, step, whole.size());
      auto made = std::make_shared<Range>();
      int64_t scaled = 0;
      if (__builtin_mul_overflow(whole.step, part.step, &scaled)) scaled = INT64_MAX;
      *made = {whole.start + part.start * whole.step, whole.start + part.stop * whole.step, scaled};
      return Value(std::move(made));
    }
    case Kind::kUndefined:
      fail(value.undefined_message());
    default:
      fail("'", value.type_name(), "' object is not subscriptable with a slice");
  }
}

Value item_at_path(Interpreter& interpreter, const Value& value, const Value& path) {
  if (!path.is(Kind::kString)) return item(interpreter, value, path);
  Value found = value;
  for (const std::string_view part : split(path.text(), ".", -1)) {
    const bool is_index = !part.empty() && part.size() < 10 &&
                          part.find_first_not_of("0123456789") == std::string_view::npos;
    const Value key = is_index ? Value(int64_t{std::stoi(std::string(part))})
                               : make_text(interpreter.budget(), std::string(part));
    found = item(interpreter, found, key);
  }
  return found;
}

}  // namespace swage::text::jinja
