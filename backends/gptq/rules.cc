#include "rules.h"

#include <map>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "swage/status.h"
#include "swage/store/module_pattern.h"

namespace swage::gptq {
namespace {

struct Joined {
  const char* name;
  std::vector<const char*> members;
};

// vLLM and SGLang look rules up by the name of the matrix that they make of several.
const std::vector<Joined>& joined() {
  static const std::vector<Joined> all = {
      {"qkv_proj", {"q_proj", "k_proj", "v_proj"}},
      {"gate_up_proj", {"gate_proj", "up_proj"}},
      {"fused_qkv_a_proj", {"q_a_proj", "kv_a_proj_with_mqa"}},
  };
  return all;
}

// "…mlp.experts.3.up_proj": "…mlp.experts".
std::string experts_of(const std::string& linear) {
  constexpr char kExperts[] = ".experts.";
  const size_t at = linear.find(kExperts);
  if (at == std::string::npos) return "";
  const size_t end = at + sizeof(kExperts) - 2;
  const size_t dot = linear.find('.', end + 1);
  const bool numbered = store::is_number(
      absl::string_view(linear).substr(end + 1, dot == std::string::npos ? dot : dot - end - 1));
  return numbered ? linear.substr(0, end) : "";
}

std::vector<std::string> joined_names(const std::set<std::string>& own) {
  std::vector<std::string> names;
  for (const std::string& name : own) {
    const std::string parent = name.substr(0, name.rfind('.') + 1);
    for (const Joined& made : joined()) {
      bool whole = name == parent + made.members.front();
      for (const char* const member : made.members) whole = whole && own.count(parent + member) > 0;
      if (whole) names.push_back(parent + made.name);
    }
  }
  return names;
}

}  // namespace

std::vector<std::vector<std::string>> rule_expressions(std::vector<std::vector<std::string>> sets) {
  std::map<std::string, std::set<size_t>> experts;  // and whose they are
  for (size_t i = 0; i < sets.size(); ++i) {
    for (const std::string& name : sets[i])
      if (const std::string owner = experts_of(name); !owner.empty()) experts[owner].insert(i);
  }
  for (std::vector<std::string>& names : sets) {
    const std::vector<std::string> more = joined_names({names.begin(), names.end()});
    names.insert(names.end(), more.begin(), more.end());
  }
  for (const auto& [name, owners] : experts)
    if (owners.size() == 1) sets[*owners.begin()].push_back(name);
  std::vector<std::vector<std::string>> expressions;
  for (const std::vector<store::ModuleRule>& rules : store::module_rules(sets)) {
    expressions.emplace_back();
    for (const store::ModuleRule& rule : rules)
      expressions.back().push_back(rule.is_name ? store::escaped(rule.text) + "$" : rule.text);
  }
  return expressions;
}

absl::StatusOr<Value> find_rule(const Value& dynamic, const std::string& path,
                                const std::string& linear) {
  if (dynamic.is_null()) return Value();
  if (dynamic.table() == nullptr)
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: ", path, " is ", dynamic.type_name(), ", expected a table"));
  std::optional<Value> found;
  bool kept = false;
  for (const auto& [rule, says] : *dynamic.table()) {
    absl::string_view expression = rule;
    const bool keeps = absl::ConsumePrefix(&expression, "-:");
    if (!keeps) absl::ConsumePrefix(&expression, "+:");
    const auto matches =
        store::matches_expression(std::string(expression), linear, store::Anchor::kStart);
    if (!matches.ok()) return annotate(matches.status(), absl::StrCat("config.json: ", path));
    if (!*matches) continue;
    kept = kept || keeps;
    if (keeps) continue;
    if (found && *found != says)
      return absl::InvalidArgumentError(
          absl::StrCat("config.json: ", path, " has several rules for ", linear,
                       " that differ, expected one: their order is not kept"));
    found = says;
  }
  if (kept && !found)
    return absl::InvalidArgumentError(absl::StrCat(
        "config.json: ", path, " keeps ", linear, " in floats, but there is ", linear, ".qweight"));
  return found.value_or(Value());
}

}  // namespace swage::gptq
