#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"

namespace swage::text {

constexpr int64_t kMaxVocabulary = int64_t{1} << 24;

// Tokens and their ids, both ways.
class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  // An id beyond 2^24, or one that another token has, is an error; adding the same pair again is
  // none.
  absl::Status add(std::string_view token, int64_t id);
  int64_t find(std::string_view token) const;                           // -1: not there
  const std::string* token(int64_t id) const;                           // null: not there
  int64_t size() const { return static_cast<int64_t>(by_id_.size()); }  // largest id + 1
  int64_t count() const { return static_cast<int64_t>(tokens_.size()); }

 private:
  std::deque<std::string> tokens_;  // keys of ids_ point here
  std::unordered_map<std::string_view, int64_t> ids_;
  std::vector<const std::string*> by_id_;
};

}  // namespace swage::text
