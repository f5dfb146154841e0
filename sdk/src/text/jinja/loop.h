#pragma once
#include <functional>
#include <utility>

#include "value.h"

namespace swage::text::jinja {

// The items of a for loop and what `loop` tells about them. The condition of a loop is asked when
// an item is needed, since the body may change what it says.
struct LoopState {
  using Condition = std::function<bool(const Value&)>;  // empty = every item

  LoopState(Items all, Condition condition)
      : items_(std::move(all)), condition_(std::move(condition)) {}

  bool advance() {
    const Value* next = peek();
    if (next == nullptr) return false;
    before = index0 < 0 ? Value::undefined("there is no previous item") : std::move(current);
    current = *next;
    ahead_ = false;
    ++next_;
    ++index0;
    return true;
  }
  // The item after the current one; null at the end.
  const Value* peek() {
    while (!ahead_ && next_ < items_.size()) {
      if (!condition_ || condition_(items_[next_])) {
        ahead_ = true;
      } else {
        ++next_;
      }
    }
    return ahead_ ? &items_[next_] : nullptr;
  }
  int64_t length() {
    if (length_ < 0) {
      length_ = index0 + 1;
      Items rest;
      while (const Value* next = peek()) {
        rest.push_back(*next);
        ahead_ = false;
        ++next_;
      }
      length_ += static_cast<int64_t>(rest.size());
      items_ = std::move(rest);
      next_ = 0;
      condition_ = nullptr;
    }
    return length_;
  }

  int64_t index0 = -1;
  Value current, before;
  Items last_changed;  // of loop.changed()
  bool has_changed = false;

 private:
  Items items_;
  Condition condition_;
  size_t next_ = 0;
  bool ahead_ = false;  // items_[next_] has passed the condition
  int64_t length_ = -1;
};

}  // namespace swage::text::jinja
