#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "error.h"

namespace swage::text::jinja {

// What a hostile template may use at most.
struct Limits {
  size_t template_bytes = size_t{1} << 20;
  size_t output_bytes = size_t{64} << 20;
  // All texts, lists and dicts that one rendering makes, together.
  size_t value_bytes = size_t{512} << 20;
  // Evaluated nodes, items looked at and, in portions, characters looked at.
  int64_t steps = 10'000'000;
  int depth = 400;  // of nested evaluation
};

constexpr size_t kObjectBytes = 64;             // what a value takes beside its contents, roughly
constexpr int kMaxSyntaxDepth = 100;            // of expressions and of blocks, as written
constexpr int kMaxValueDepth = 128;             // lists within lists
constexpr int64_t kMaxValueWeight = 8'000'000;  // values within a value
constexpr int64_t kMaxKeyWeight = 64;           // the same for a key of a dict

// Counts what one rendering uses. Nothing is given back, so that it bounds time as well as memory.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}

  void step(int64_t count = 1) {
    steps_ += count;
    if (steps_ > limits_.steps) exhausted("more than ", limits_.steps, " steps of evaluation");
  }
  void scan(size_t bytes) { step(1 + static_cast<int64_t>(bytes / 32)); }
  void take(size_t bytes) {
    if (bytes > limits_.value_bytes - bytes_) {
      exhausted("values of more than ", limits_.value_bytes, " bytes");
    }
    bytes_ += bytes;
  }
  // The same for `count` pieces of `bytes`, whose product may not fit into a size_t.
  void take(size_t count, size_t bytes) {
    if (bytes > 0 && count > limits_.value_bytes / bytes) {
      exhausted("values of more than ", limits_.value_bytes, " bytes");
    }
    take(count * bytes);
  }
  void check_output(size_t bytes) const {
    if (bytes > limits_.output_bytes) {
      exhausted("an output of more than ", limits_.output_bytes, " bytes");
    }
  }

  // Holds one level of nested evaluation.
  class Level {
   public:
    explicit Level(Budget* budget) : budget_(budget) {
      if (budget_->depth_ >= budget_->limits_.depth) {
        exhausted("evaluation nested deeper than ", budget_->limits_.depth, " levels");
      }
      ++budget_->depth_;
    }
    ~Level() { --budget_->depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Budget* budget_;
  };

 private:
  template <class... Parts>
  [[noreturn]] static void exhausted(const Parts&... parts) {
    throw Error(absl::StatusCode::kResourceExhausted,
                absl::StrCat("the template needs ", parts..., ", which is the limit"));
  }

  const Limits limits_;
  int64_t steps_ = 0;
  size_t bytes_ = 0;
  int depth_ = 0;
};

// A text that grows; every byte is paid for before it is there.
class Builder {
 public:
  explicit Builder(Budget* budget) : budget_(budget) {}

  Builder& operator<<(std::string_view text) {
    budget_->take(text.size());
    text_.append(text);
    return *this;
  }
  void repeat(size_t count, std::string_view text) {
    budget_->take(count, text.size());
    text_.reserve(text_.size() + count * text.size());
    for (size_t i = 0; i < count; ++i) text_.append(text);
  }
  const std::string& text() const { return text_; }
  std::string release() { return std::move(text_); }
  Budget& budget() { return *budget_; }

 private:
  Budget* budget_;
  std::string text_;
};

}  // namespace swage::text::jinja
