#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace swage::text {

// A part of a text: found by a pattern, or the gap between two finds.
struct Match {
  size_t begin = 0, end = 0;
  bool found = false;
};

// A regular expression of tokenizer.json (Oniguruma's syntax) run by PCRE2. What the two read
// differently is rewritten or refused; a pattern that backtracks without end is stopped.
// Thread-safe.
class Regex {
 public:
  static absl::StatusOr<Regex> compile(std::string_view pattern);
  // Finds and gaps of `text` in order; together they cover it. Replaces what `matches` held.
  absl::Status find_all(std::string_view text, std::vector<Match>* matches) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

// The pattern in PCRE2's syntax. Public for its tests.
absl::StatusOr<std::string> translate_pattern(std::string_view pattern);

// Appends [begin, end) as a gap (found = false) or a find, leaving out empty gaps.
void push_match(size_t begin, size_t end, bool found, std::vector<Match>* matches);
// Finds of a literal; none when it is empty.
void find_literal(std::string_view text, std::string_view literal, std::vector<Match>* matches);

}  // namespace swage::text
