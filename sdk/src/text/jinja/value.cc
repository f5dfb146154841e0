#include "value.h"

#include <algorithm>

#include "loop.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

constexpr size_t kEntriesWithoutIndex = 12;

// Numbers of every type are one group, as 1 == True == 1.0 are one key.
int group(const Value& key) {
  return key.is_number() ? static_cast<int>(Kind::kInt) : static_cast<int>(key.kind());
}

int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) {
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0;
  }
  return a.number() < b.number() ? -1 : a.number() > b.number() ? 1 : 0;
}

// A total order of keys, whatever it is.
int compare_keys(const Value& a, const Value& b) {
  if (group(a) != group(b)) return group(a) < group(b) ? -1 : 1;
  if (a.is_number()) return compare_numbers(a, b);
  if (a.is(Kind::kString)) return a.text().compare(b.text());
  if (a.is(Kind::kTuple)) {
    const Items &left = a.sequence().items, &right = b.sequence().items;
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (const int order = compare_keys(left[i], right[i]); order != 0) return order;
    }
    return left.size() < right.size() ? -1 : left.size() > right.size() ? 1 : 0;
  }
  if (a.identity() == b.identity()) return 0;
  return std::less<const void*>()(a.identity(), b.identity()) ? -1 : 1;
}

void include(const Value& part, Extent* whole) {
  const Extent extent = part.extent();
  whole->depth = std::max(whole->depth, 1 + extent.depth);
  whole->weight += extent.weight;
  if (whole->depth > kMaxValueDepth) fail("values nested deeper than ", kMaxValueDepth, " levels");
  if (whole->weight > kMaxValueWeight) fail("a value of more than ", kMaxValueWeight, " parts");
}

std::shared_ptr<void> untyped(std::shared_ptr<const std::string> text) {
  return std::const_pointer_cast<std::string>(std::move(text));
}

}  // namespace

Value::Value(std::shared_ptr<const std::string> v) : Value(Kind::kString, untyped(std::move(v))) {}
Value::Value(std::shared_ptr<Dict> v) : Value(Kind::kDict, std::shared_ptr<void>(std::move(v))) {}
Value::Value(std::shared_ptr<Range> v) : Value(Kind::kRange, std::shared_ptr<void>(std::move(v))) {}
Value::Value(std::shared_ptr<Namespace> v)
    : Value(Kind::kNamespace, std::shared_ptr<void>(std::move(v))) {}
Value::Value(std::shared_ptr<Function> v)
    : Value(Kind::kFunction, std::shared_ptr<void>(std::move(v))) {}
Value::Value(std::shared_ptr<LoopState> v)
    : Value(Kind::kLoop, std::shared_ptr<void>(std::move(v))) {}
Value::Value(Kind kind, std::shared_ptr<Sequence> v)
    : Value(kind, std::shared_ptr<void>(std::move(v))) {}

Value Value::undefined(std::string message) {
  return Value(Kind::kUndefined, untyped(std::make_shared<const std::string>(std::move(message))));
}

const Sequence& Value::sequence() const { return *static_cast<const Sequence*>(object_.get()); }
Sequence& Value::sequence() { return *static_cast<Sequence*>(object_.get()); }
const Dict& Value::dict() const { return *static_cast<const Dict*>(object_.get()); }
const Range& Value::range() const { return *static_cast<const Range*>(object_.get()); }
Namespace& Value::space() const { return *static_cast<Namespace*>(object_.get()); }
const Function& Value::function() const { return *static_cast<const Function*>(object_.get()); }
LoopState& Value::loop() const { return *static_cast<LoopState*>(object_.get()); }

Extent Value::extent() const {
  if (is_sequence()) return sequence().extent;
  return is(Kind::kDict) ? dict().extent() : Extent();
}

const char* Value::type_name() const {
  switch (kind_) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kView:
      return sequence().label.c_str();
    case Kind::kGenerator:
      return "generator";
    case Kind::kDict:
      return "dict";
    case Kind::kRange:
      return "range";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kFunction:
      return "function";
    case Kind::kLoop:
      return "LoopContext";
  }
  return "object";
}

int64_t Range::size() const {
  if (step > 0) return start < stop ? (stop - start - 1) / step + 1 : 0;
  return start > stop ? (start - stop - 1) / -step + 1 : 0;
}

bool Dict::Less::operator()(const Value& a, const Value& b) const { return compare_keys(a, b) < 0; }

size_t Dict::place(const Value& key) const {
  if (!index_.empty()) {
    const auto it = index_.find(key);
    return it == index_.end() ? entries_.size() : it->second;
  }
  size_t i = 0;
  while (i < entries_.size() && compare_keys(entries_[i].first, key) != 0) ++i;
  return i;
}

const Value* Dict::find(const Value& key, Budget* budget) const {
  if (budget != nullptr && key.is(Kind::kString)) budget->scan(key.text().size());
  const size_t i = place(key);
  return i < entries_.size() ? &entries_[i].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  if (!index_.empty()) return find(Value(std::make_shared<const std::string>(key)));
  for (const auto& [name, value] : entries_) {
    if (name.is(Kind::kString) && name.text() == key) return &value;
  }
  return nullptr;
}

void Dict::set(Budget* budget, Value key, Value value) {
  if (!is_hashable(key)) fail("unhashable type: '", key.type_name(), "'");
  if (key.is(Kind::kString)) budget->scan(key.text().size());
  include(key, &extent_);
  include(value, &extent_);
  const size_t i = place(key);
  if (i < entries_.size()) {
    entries_[i].second = std::move(value);
    return;
  }
  budget->step();
  budget->take(2 * sizeof(Entry));
  entries_.emplace_back(std::move(key), std::move(value));
  if (entries_.size() <= kEntriesWithoutIndex) return;
  for (size_t entry = index_.size(); entry < entries_.size(); ++entry) {
    index_.emplace(entries_[entry].first, entry);
  }
}

Value make_text(Budget* budget, std::string text) {
  budget->take(kObjectBytes + text.size());
  return Value(std::make_shared<const std::string>(std::move(text)));
}

Value make_undefined(Budget* budget, std::string message) {
  budget->take(kObjectBytes + message.size());
  return Value::undefined(std::move(message));
}

Value make_sequence(Budget* budget, Kind kind, Items items, std::string label) {
  budget->take(items.size(), sizeof(Value));
  budget->take(2 * kObjectBytes);
  budget->step(static_cast<int64_t>(items.size()));
  auto sequence = std::make_shared<Sequence>();
  for (const Value& item : items) include(item, &sequence->extent);
  sequence->items = std::move(items);
  sequence->label = std::move(label);
  return Value(kind, std::move(sequence));
}

Items pairs_of(Budget* budget, const Dict& dict) {
  Items pairs;
  for (const auto& [key, value] : dict.entries()) pairs.push_back(make_tuple(budget, {key, value}));
  return pairs;
}

bool is_hashable(const Value& value) {
  if (value.is(Kind::kTuple)) {
    if (value.extent().weight > kMaxKeyWeight) return false;
    const Items& items = value.sequence().items;
    return std::all_of(items.begin(), items.end(), is_hashable);
  }
  return !value.is(Kind::kList) && !value.is(Kind::kDict) && !value.is(Kind::kView);
}

bool is_true(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.number() != 0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kView:
      return !value.sequence().items.empty();
    case Kind::kDict:
      return !value.dict().entries().empty();
    case Kind::kRange:
      return value.range().size() > 0;
    case Kind::kLoop:
      return value.loop().length() > 0;
    case Kind::kGenerator:
    case Kind::kNamespace:
    case Kind::kFunction:
      return true;
  }
  return true;
}

Items items_of(Budget* budget, const Value& value) {
  Items items;
  switch (value.kind()) {
    case Kind::kUndefined:
      return items;
    case Kind::kString:
      budget->take(value.text().size(), sizeof(Value));
      for (const std::string_view character : Characters(value.text())) {
        items.push_back(make_text(budget, std::string(character)));
      }
      break;
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kView:
      items = value.sequence().items;
      break;
    case Kind::kGenerator: {
      Sequence& rest = Value(value).sequence();
      items.assign(rest.items.begin() + static_cast<int64_t>(rest.next), rest.items.end());
      rest.next = rest.items.size();
      break;
    }
    case Kind::kDict:
      for (const auto& [key, unused] : value.dict().entries()) items.push_back(key);
      break;
    case Kind::kRange:
      budget->take(static_cast<size_t>(value.range().size()), sizeof(Value));
      for (int64_t i = 0; i < value.range().size(); ++i) {
        items.push_back(Value(value.range().start + i * value.range().step));
      }
      break;
    default:
      fail("'", value.type_name(), "' object is not iterable");
  }
  budget->step(static_cast<int64_t>(items.size()));
  return items;
}

int64_t length_of(Budget* budget, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      budget->scan(value.text().size());
      return count_characters(value.text());
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kView:
      return static_cast<int64_t>(value.sequence().items.size());
    case Kind::kDict:
      return static_cast<int64_t>(value.dict().entries().size());
    case Kind::kRange:
      return value.range().size();
    case Kind::kLoop:
      return value.loop().length();
    default:
      fail("object of type '", value.type_name(), "' has no len()");
  }
}

}  // namespace swage::text::jinja
