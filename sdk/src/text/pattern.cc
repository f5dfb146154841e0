#include "pattern.h"

#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "unicode.h"

namespace swage::text {
namespace {

Finder literal_finder(std::string literal) {
  return [literal = std::move(literal)](std::string_view text, std::vector<Match>* matches) {
    find_literal(text, literal, matches);
    return absl::OkStatus();
  };
}

}  // namespace

absl::StatusOr<Finder> make_finder(const Value& pattern) {
  if (const std::string* literal = pattern.text()) return literal_finder(*literal);
  if (const std::string* literal = pattern["String"].text()) return literal_finder(*literal);
  if (const std::string* source = pattern["Regex"].text()) {
    SWAGE_ASSIGN_OR_RETURN(const Regex regex, Regex::compile(*source));
    return Finder([regex](std::string_view text, std::vector<Match>* matches) {
      return regex.find_all(text, matches);
    });
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"pattern\" is a ", pattern.type_name(), R"(, expected {"String": "…"} or {"Regex": "…"})"));
}

Finder find_chars(bool (*wanted)(char32_t)) {
  return [wanted](std::string_view text, std::vector<Match>* matches) {
    matches->clear();
    size_t covered = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      if (!wanted(next_char(text, &at))) continue;
      push_match(covered, begin, false, matches);
      push_match(begin, at, true, matches);
      covered = at;
    }
    push_match(covered, text.size(), false, matches);
    return absl::OkStatus();
  };
}

}  // namespace swage::text
