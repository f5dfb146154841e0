#include "targets.h"

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "module_path.h"
#include "swage/status.h"

namespace swage::compressed_tensors {
namespace {

constexpr absl::string_view kRegexMark = "re:";
constexpr int64_t kMaxExpression = 1024;  // characters, each as often as counted repetitions say
constexpr int64_t kMaxGroups = 64;
constexpr size_t kMaxName = 1024;

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

absl::StatusOr<bool> matches_expression(const std::string& expression, const std::string& name) {
  SWAGE_RETURN_IF_ERROR(check_expression(expression));
  if (name.size() > kMaxName)
    return absl::InvalidArgumentError(
        absl::StrCat("a module name of ", name.size(), " characters, expected at most ", kMaxName));
  try {
    // All alternatives at once: no expression backtracks without end. It has no back-references.
    const std::regex regex(expression, std::regex::ECMAScript | std::regex_constants::__polynomial);
    return std::regex_search(name, regex, std::regex_constants::match_continuous);
  } catch (const std::regex_error&) {
    return refused(expression, "is not understood");
  }
}

// "model.layers.3.mlp.up_proj" to "model\.layers\.\d+\.mlp\.up_proj$".
std::string generalize(const std::string& name) {
  std::string expression;
  for (const absl::string_view part : absl::StrSplit(name, '.'))
    absl::StrAppend(&expression, expression.empty() ? "" : "\\.", generalized(part));
  return expression + "$";
}

}  // namespace

absl::StatusOr<Match> match(const std::string& target, const std::string& linear) {
  absl::string_view expression = target;
  if (absl::ConsumePrefix(&expression, kRegexMark)) {
    SWAGE_ASSIGN_OR_RETURN(const bool found, matches_expression(std::string(expression), linear));
    return found ? Match::kRegex : Match::kNone;
  }
  if (target == linear) return Match::kExact;
  return target == "Linear" ? Match::kClass : Match::kNone;
}

absl::StatusOr<Match> match_any(const std::vector<std::string>& targets,
                                const std::string& linear) {
  Match best = Match::kNone;
  for (const std::string& target : targets) {
    SWAGE_ASSIGN_OR_RETURN(const Match found, match(target, linear));
    best = std::max(best, found);
  }
  return best;
}

std::vector<std::vector<std::string>> make_targets(
    const std::vector<std::vector<std::string>>& sets) {
  std::map<std::string, std::set<size_t>> owners;
  std::map<std::string, int> uses;
  for (size_t i = 0; i < sets.size(); ++i) {
    for (const std::string& name : sets[i]) {
      owners[generalize(name)].insert(i);
      ++uses[generalize(name)];
    }
  }
  std::vector<std::vector<std::string>> targets(sets.size());
  for (size_t i = 0; i < sets.size(); ++i) {
    std::set<std::string> written;
    for (const std::string& name : sets[i]) {
      const std::string expression = generalize(name);
      if (owners[expression].size() > 1 || uses[expression] == 1)
        targets[i].push_back(name);
      else if (written.insert(expression).second)
        targets[i].push_back(absl::StrCat(kRegexMark, expression));
    }
  }
  return targets;
}

std::vector<std::string> whole_modules(const std::vector<std::string>& kept,
                                       const std::vector<std::string>& compressed) {
  std::set<std::string> used;  // every module on the way to a compressed linear, and its last name
  for (const std::string& name : compressed) {
    for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      used.insert(name.substr(0, dot));
    for (const absl::string_view part : absl::StrSplit(name, '.')) used.emplace(part);
  }
  std::vector<std::string> expressions;
  std::set<std::string> written;
  for (const std::string& name : kept) {
    size_t dot = name.find('.');
    while (dot != std::string::npos && used.count(name.substr(0, dot)) > 0)
      dot = name.find('.', dot + 1);
    if (dot == std::string::npos) continue;  // the linear itself
    const std::string path = name.substr(0, dot), last = path.substr(path.rfind('.') + 1);
    if (is_number(last) || used.count(last) > 0 || !written.insert(last).second) continue;
    expressions.push_back(absl::StrCat(kRegexMark, "(.*\\.)?", escaped(last), "\\..*"));
  }
  return expressions;
}

}  // namespace swage::compressed_tensors
