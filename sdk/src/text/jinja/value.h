#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "budget.h"

namespace swage::text::jinja {

class Interpreter;
class Value;
struct Call;
class Dict;
struct Sequence;
struct Range;
struct Namespace;
struct Function;
struct LoopState;

// Types as Python names them; views are what keys(), values() and items() give, a generator is
// what filters such as map give: it can be walked once.
enum class Kind {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kView,
  kGenerator,
  kDict,
  kRange,
  kNamespace,
  kFunction,
  kLoop,
};

// How deep lists and dicts nest within a value and how many values one meets in walking through all
// of it; a value that is there twice counts twice. Both are limited when a list or dict is made, so
// that walks need no limits of their own.
struct Extent {
  int depth = 0;
  int64_t weight = 1;
};

// One Python value. Texts, lists and dicts never change once they are made, so copies share them.
class Value {
 public:
  Value() = default;  // None
  explicit Value(bool v) : kind_(Kind::kBool), integer_(v) {}
  explicit Value(int64_t v) : kind_(Kind::kInt), integer_(v) {}
  explicit Value(double v) : kind_(Kind::kFloat), real_(v) {}
  // Literals of our own, which cost no budget.
  explicit Value(const char* v) : Value(std::make_shared<const std::string>(v)) {}
  explicit Value(std::shared_ptr<const std::string> v);
  explicit Value(std::shared_ptr<Dict> v);
  explicit Value(std::shared_ptr<Range> v);
  explicit Value(std::shared_ptr<Namespace> v);
  explicit Value(std::shared_ptr<Function> v);
  explicit Value(std::shared_ptr<LoopState> v);
  Value(Kind kind, std::shared_ptr<Sequence> v);
  // `message` is what using it tells.
  static Value undefined(std::string message);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_integer() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool is_number() const { return is_integer() || kind_ == Kind::kFloat; }
  bool is_sequence() const { return kind_ >= Kind::kList && kind_ <= Kind::kGenerator; }

  // Each only for its own kind.
  int64_t integer() const { return integer_; }
  double number() const { return kind_ == Kind::kFloat ? real_ : static_cast<double>(integer_); }
  const std::string& text() const { return *static_cast<const std::string*>(object_.get()); }
  const Sequence& sequence() const;
  Sequence& sequence();  // a generator's
  const Dict& dict() const;
  const Range& range() const;
  Namespace& space() const;
  const Function& function() const;
  LoopState& loop() const;
  const std::string& undefined_message() const { return text(); }

  const void* identity() const { return object_.get(); }
  Extent extent() const;
  const char* type_name() const;  // Python's

 private:
  Value(Kind kind, std::shared_ptr<void> object) : kind_(kind), object_(std::move(object)) {}

  Kind kind_ = Kind::kNone;
  union {
    int64_t integer_ = 0;
    double real_;
  };
  std::shared_ptr<void> object_;
};

using Items = std::vector<Value>;

struct Sequence {
  Items items;
  std::string label;  // "dict_keys", for views
  size_t next = 0;    // a generator's first item that was not taken yet
  Extent extent{1, 1};
};

struct Range {
  int64_t start = 0, stop = 0, step = 1;
  int64_t size() const;
};

// Keeps the order of insertion.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  const std::vector<Entry>& entries() const { return entries_; }
  // Null when absent. The key must be hashable; without a budget it must be short.
  const Value* find(const Value& key, Budget* budget = nullptr) const;
  const Value* find(std::string_view key) const;
  // Replaces the value of an equal key. Fails for keys that Python cannot hash.
  void set(Budget* budget, Value key, Value value);
  const Extent& extent() const { return extent_; }

 private:
  struct Less {
    bool operator()(const Value& a, const Value& b) const;
  };
  size_t place(const Value& key) const;

  std::vector<Entry> entries_;
  std::map<Value, size_t, Less> index_;  // empty while there are few entries
  Extent extent_{1, 1};
};

struct Namespace {
  std::map<std::string, Value, std::less<>> members;
};

// Arguments of a call. Filters and tests get what they are applied to separately.
struct Call {
  Items positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Function {
  std::string name;
  std::function<Value(Interpreter&, const Call&)> run;
};

Value make_text(Budget* budget, std::string text);
Value make_undefined(Budget* budget, std::string message);
Value make_sequence(Budget* budget, Kind kind, Items items, std::string label = "");
inline Value make_list(Budget* budget, Items items) {
  return make_sequence(budget, Kind::kList, std::move(items));
}
inline Value make_tuple(Budget* budget, Items items) {
  return make_sequence(budget, Kind::kTuple, std::move(items));
}

// (key, value) for every entry.
Items pairs_of(Budget* budget, const Dict& dict);

bool is_hashable(const Value& value);
bool is_true(const Value& value);
// What a for loop walks through; fails for what Python cannot iterate. Takes a generator's rest.
Items items_of(Budget* budget, const Value& value);
// len(); fails for what has none.
int64_t length_of(Budget* budget, const Value& value);

}  // namespace swage::text::jinja
