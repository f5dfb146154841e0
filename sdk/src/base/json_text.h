#pragma once
#include <string>
#include <string_view>
#include <utility>

namespace swage {

// What a text of nlohmann-json ("[json.exception.parse_error.101] parse error at …") means to who
// wrote the file. `around` are the bytes up to the place and a few behind it.
inline std::string json_problem(std::string_view what, std::string_view around) {
  // Python's json writes what JSON does not have.
  for (const char* word : {"NaN", "Infinity"}) {
    if (around.find(word) != std::string_view::npos)
      return std::string(word) + " is no number of JSON, though Python writes it";
  }
  constexpr std::pair<const char*, const char*> kMeanings[] = {
      {"unexpected end of input", "it ends too early"},
      {"missing closing quote", "it ends within a string"},
      {"control character", "a control character, such as a line end, stands within a string"},
      {"ill-formed UTF-8", "it holds bytes that are no UTF-8"},
      {"invalid BOM", "it holds bytes that are no UTF-8"},
      {"forbidden character after backslash", "a string holds a \\ that JSON does not know"},
      {"must be followed by 4 hex digits", "a \\u in a string needs four hexadecimal digits"},
      {"surrogate", "a \\u in a string is half of a character"},
      {"number overflow", "a number is too large"},
      {"invalid number", "a number is written as JSON has none"},
      {"parsing object key", "the key of an object is expected here, in double quotes"},
      {"invalid literal", "a word is none of JSON's true, false and null"},
      {"comment", "JSON has no comments"},
      {"expected end of input", "something follows behind its end"},
      {"parsing object separator", "a : is expected here"},
      {"parsing object", "a , or } is expected here"},
      {"parsing array", "a , or ] is expected here"}};
  for (const auto& [words, meaning] : kMeanings) {
    if (what.find(words) != std::string_view::npos) return meaning;
  }
  return "a value is expected here";
}

}  // namespace swage
