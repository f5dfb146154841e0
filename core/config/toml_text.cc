#include "core/config/toml_text.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace swage {
namespace {

// In order: the first that the parser's text holds.
constexpr std::pair<const char*, const char*> kMeanings[] = {
    {"unescaped control characters",
     "a line end or another control character stands within a text: is its closing quote missing?"},
    {"control character", "a control character stands here"},
    {"end-of-file", "the file ends too early"},
    {"saw EOF", "the file ends too early"},
    {"utf-8", "it holds bytes that are no UTF-8"},
    {"UTF-8", "it holds bytes that are no UTF-8"},
    {"dangling comma", "a comma too many"},
    {"saw comma", "a comma too many"},
    {"expected comma or closing ']'", "a comma or the closing ] is missing"},
    {"expected comma or closing '}'", "a comma or the closing } is missing"},
    {"expected ']'", "a closing ] is missing"},
    {"expected '='", "a = is missing behind the key"},
    {"escape sequence", "a text holds a \\ that TOML does not know; in '…' it stands for itself"},
    {"surrogates", "a \\u in a text is half of a character"},
    {"expected a comment or whitespace", "something stands behind the value; a line holds one key"},
    {"could not determine value type",
     "this is no value: texts stand in quotes, numbers, true and false without"},
    {"expected value", "a value is expected here; texts stand in quotes"},
    {"bare key", "a key is expected here"},
    {"expected key", "a key is expected here"},
    {"day", "a date or time is not one"},
    {"month", "a date or time is not one"},
    {"year", "a date or time is not one"},
    {"hour", "a date or time is not one"},
    {"minute", "a date or time is not one"},
    {"second", "a date or time is not one"},
    {"digit", "a number is written as TOML has none"},
    {"underscore", "a number is written as TOML has none"},
    {"zeroes", "a number is written as TOML has none"},
    {"exponent", "a number is written as TOML has none"},
    {"not representable", "a number is too large"}};

}  // namespace

std::string toml_problem(const std::string& text) {
  // "cannot redefine existing string 'path'"
  const size_t open = text.find('\''), close = text.rfind('\'');
  if (absl::StrContains(text, "redefine") && open < close)
    return absl::StrCat("\"", text.substr(open + 1, close - open - 1), "\" is given twice");
  for (const auto& [words, meaning] : kMeanings) {
    if (absl::StrContains(text, words)) return meaning;
  }
  // Without what the parser was about to do and the names of its own code.
  const size_t colon = absl::StartsWith(text, "Error while parsing") ? text.find(": ") : text.npos;
  const std::string rest = colon == text.npos ? text : text.substr(colon + 2);
  return rest.substr(0, rest.find(" (TOML_"));
}

}  // namespace swage
