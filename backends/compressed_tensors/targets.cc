#include "targets.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "swage/status.h"
#include "swage/store/module_pattern.h"

namespace swage::compressed_tensors {
namespace {

constexpr absl::string_view kRegexMark = "re:";

// "model.layers.3.mlp.up_proj" to "model\.layers\.\d+\.mlp\.up_proj$".
std::string generalize(const std::string& name) {
  std::string expression;
  for (const absl::string_view part : absl::StrSplit(name, '.'))
    absl::StrAppend(&expression, expression.empty() ? "" : "\\.", store::generalized(part));
  return expression + "$";
}

}  // namespace

absl::StatusOr<Match> match(const std::string& target, const std::string& linear) {
  absl::string_view expression = target;
  if (absl::ConsumePrefix(&expression, kRegexMark)) {
    SWAGE_ASSIGN_OR_RETURN(
        const bool found,
        store::matches_expression(std::string(expression), linear, store::Anchor::kStart));
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
    if (store::is_number(last) || used.count(last) > 0 || !written.insert(last).second) continue;
    expressions.push_back(absl::StrCat(kRegexMark, "(.*\\.)?", store::escaped(last), "\\..*"));
  }
  return expressions;
}

}  // namespace swage::compressed_tensors
