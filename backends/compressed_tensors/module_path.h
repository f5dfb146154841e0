#pragma once
#include <algorithm>
#include <cctype>
#include <string>

#include "absl/strings/string_view.h"

// Parts of a module's path, "model", "layers", "3", and how they stand in an expression.
namespace swage::compressed_tensors {

inline bool is_number(absl::string_view part) {
  return !part.empty() && std::all_of(part.begin(), part.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

inline std::string escaped(absl::string_view part) {
  std::string expression;
  for (const char c : part) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') expression += '\\';
    expression += c;
  }
  return expression;
}

// A number stands for all numbers.
inline std::string generalized(absl::string_view part) {
  return is_number(part) ? "\\d+" : escaped(part);
}

}  // namespace swage::compressed_tensors
