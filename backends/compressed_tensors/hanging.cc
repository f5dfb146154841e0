#include "hanging.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "swage/store/module_pattern.h"

namespace swage::compressed_tensors {

bool has_several_stacks(const std::vector<std::vector<std::string>>& sets) {
  std::set<std::string> stacks;
  for (const auto& names : sets) {
    for (const std::string& name : names) {
      const std::string stack = store::stack_of(name);
      if (!stack.empty()) stacks.insert(stack);
    }
  }
  return stacks.size() > 1;
}

std::vector<std::vector<std::string>> hanging_targets(
    const std::vector<std::vector<std::string>>& sets) {
  std::vector<std::vector<std::string>> targets;
  for (const std::vector<store::ModuleRule>& rules : store::module_rules(sets)) {
    targets.emplace_back();
    for (const store::ModuleRule& rule : rules)
      targets.back().push_back(absl::StrCat(rule.is_name ? "" : "re:", rule.text));
  }
  return targets;
}

}  // namespace swage::compressed_tensors
