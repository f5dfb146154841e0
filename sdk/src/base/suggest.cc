#include "swage/suggest.h"

#include <algorithm>
#include <cctype>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace swage {
namespace {

std::string fold(std::string_view word) {
  std::string folded(
      word.substr(0, 128));  // longer words are no names; the table below stays small
  for (char& c : folded)
    c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return folded;
}

// Optimal string alignment distance: three rows are enough for swaps of neighbours.
size_t edits(const std::string& a, const std::string& b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] =
          std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  const std::string wanted = fold(word);
  std::string best, started;
  size_t fewest = std::max<size_t>(1, wanted.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const std::string folded = fold(candidate);
    const size_t distance = edits(wanted, folded);
    if (distance < fewest && distance < wanted.size()) {
      fewest = distance;
      best = candidate;
    }
    if (started.empty() && wanted.size() >= 2 && folded.compare(0, wanted.size(), wanted) == 0)
      started = candidate;
  }
  return best.empty() ? started : best;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  const std::string near = nearest(word, known);
  if (!near.empty()) return absl::StrCat("; did you mean \"", near, "\"?");
  if (known.empty()) return "";
  std::vector<std::string> sorted = known;
  std::sort(sorted.begin(), sorted.end());
  return absl::StrCat("; known are ", absl::StrJoin(sorted, ", "));
}

}  // namespace swage
