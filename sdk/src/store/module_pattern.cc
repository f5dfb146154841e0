#include "swage/store/module_pattern.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <map>
#include <regex>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "swage/status.h"

namespace swage::store {
namespace {

constexpr int64_t kMaxExpression = 1024;  // characters, each as often as counted repetitions say
constexpr int64_t kMaxGroups = 64;
constexpr size_t kMaxName = 1024;

using Parts = std::vector<std::string>;

absl::Status refused(const std::string& expression, const std::string& reason) {
  return absl::InvalidArgumentError(
      absl::StrCat("the regular expression \"", expression.substr(0, 200), "\" ", reason));
}

// std::regex recurses as deep as its automaton is large, and reads Python's \A or \Z as letters.
absl::Status check_expression(const std::string& expression) {
  int64_t size = static_cast<int64_t>(expression.size());
  for (size_t i = 0; i < expression.size() && size <= kMaxExpression; ++i) {
    if (expression[i] == '\\') {
      const char escaped = ++i < expression.size() ? expression[i] : '\0';
      if (std::isalnum(static_cast<unsigned char>(escaped)) != 0 &&
          absl::string_view("dDsSwWbB").find(escaped) == absl::string_view::npos)
        return refused(expression,
                       absl::StrCat("has the escape \\", std::string(1, escaped),
                                    ", expected one of \\d \\D \\s \\S \\w \\W \\b \\B"));
    } else if (expression[i] == '{') {
      int64_t count = 0, greatest = 1;
      for (; i < expression.size() && expression[i] != '}' && count <= kMaxExpression; ++i) {
        count = std::isdigit(static_cast<unsigned char>(expression[i])) != 0
                    ? count * 10 + (expression[i] - '0')
                    : 0;
        greatest = std::max(greatest, count);
      }
      size *= greatest;
    }
  }
  if (std::count(expression.begin(), expression.end(), '(') > kMaxGroups)
    return refused(expression, absl::StrCat("has more than ", kMaxGroups, " groups"));
  if (size <= kMaxExpression) return absl::OkStatus();
  return refused(expression, absl::StrCat("is larger than ", kMaxExpression,
                                          " characters, counted repetitions included"));
}

// Where the stack of blocks is named; of a linear outside of blocks its module.
size_t place_of_stack(const Parts& parts) {
  const auto number = std::find_if(parts.begin(), parts.end(), is_number);
  const auto place = static_cast<size_t>(number - parts.begin());
  const size_t behind = number == parts.end() ? parts.size() - 1 : place;
  return behind > 0 ? behind - 1 : 0;
}

// From what says least to what says most. "model" is no help: readers put it in other places.
std::vector<std::string> candidates(const std::string& name) {
  const Parts parts = absl::StrSplit(name, '.');
  const size_t stack = place_of_stack(parts);
  std::vector<std::string> all;
  for (const bool any_number : {true, false}) {
    Parts tail;
    for (size_t i = stack; i < parts.size(); ++i)
      tail.push_back(any_number ? generalized(parts[i]) : escaped(parts[i]));
    const std::string end = absl::StrCat(absl::StrJoin(tail, "\\."), "$");
    all.push_back(absl::StrCat("(.*\\.)?", end));
    for (size_t i = 0; i < stack; ++i) {
      if (parts[i] != "model")
        all.push_back(absl::StrCat("(.*\\.)?", escaped(parts[i]), "\\.(.*\\.)?", end));
    }
  }
  return all;
}

}  // namespace

bool is_number(absl::string_view part) {
  return !part.empty() && std::all_of(part.begin(), part.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::string escaped(absl::string_view part) {
  std::string expression;
  for (const char c : part) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') expression += '\\';
    expression += c;
  }
  return expression;
}

std::string generalized(absl::string_view part) { return is_number(part) ? "\\d+" : escaped(part); }

std::string stack_of(const std::string& name) {
  const Parts parts = absl::StrSplit(name, '.');
  if (std::none_of(parts.begin(), parts.end(), is_number)) return "";
  const auto end = parts.begin() + static_cast<std::ptrdiff_t>(place_of_stack(parts)) + 1;
  return absl::StrJoin(parts.begin(), end, ".");
}

absl::StatusOr<bool> matches_expression(const std::string& expression, const std::string& name,
                                        Anchor anchor) {
  SWAGE_RETURN_IF_ERROR(check_expression(expression));
  if (name.size() > kMaxName)
    return absl::InvalidArgumentError(
        absl::StrCat("a module name of ", name.size(), " characters, expected at most ", kMaxName));
  try {
    // All alternatives at once: no expression backtracks without end. It has no back-references.
    const std::regex regex(expression, std::regex::ECMAScript | std::regex_constants::__polynomial);
    return std::regex_search(name, regex,
                             anchor == Anchor::kStart ? std::regex_constants::match_continuous
                                                      : std::regex_constants::match_default);
  } catch (const std::regex_error&) {
    return refused(expression, "is not understood");
  }
}

std::vector<std::vector<ModuleRule>> module_rules(
    const std::vector<std::vector<std::string>>& sets) {
  std::map<std::string, std::set<size_t>> owners;
  for (size_t i = 0; i < sets.size(); ++i) {
    for (const std::string& name : sets[i]) {
      for (std::string& candidate : candidates(name)) owners[std::move(candidate)].insert(i);
    }
  }
  std::vector<std::vector<ModuleRule>> rules(sets.size());
  for (size_t i = 0; i < sets.size(); ++i) {
    std::set<std::string> written;
    for (const std::string& name : sets[i]) {
      const std::vector<std::string> known = candidates(name);
      const auto own = std::find_if(known.begin(), known.end(), [&](const std::string& candidate) {
        return owners[candidate].size() == 1;
      });
      const bool is_name = own == known.end();
      const std::string& text = is_name ? name : *own;
      if (written.insert(text).second) rules[i].push_back({text, is_name});
    }
  }
  return rules;
}

}  // namespace swage::store
