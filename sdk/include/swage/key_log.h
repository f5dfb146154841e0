#pragma once
#include <set>
#include <string>

#include "swage/export.h"

namespace swage {

// The keys that this thread asks any table for (Value::operator[] and what builds on it) while the
// log lives. The innermost log counts.
class SWAGE_API KeyLog {
 public:
  KeyLog();
  ~KeyLog();
  KeyLog(const KeyLog&) = delete;
  KeyLog& operator=(const KeyLog&) = delete;

  bool has(std::string_view key) const { return keys_.find(key) != keys_.end(); }
  void add(std::string_view key) { keys_.emplace(key); }

 private:
  std::set<std::string, std::less<>> keys_;
  KeyLog* const outer_;
};

}  // namespace swage
