#include "hanging.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "module_path.h"

namespace swage::compressed_tensors {
namespace {

using Parts = std::vector<std::string>;

// Where the stack of blocks is named; of a linear outside of blocks its module.
size_t stack_of(const Parts& parts) {
  const auto number = std::find_if(parts.begin(), parts.end(), is_number);
  const auto place = static_cast<size_t>(number - parts.begin());
  const size_t behind = number == parts.end() ? parts.size() - 1 : place;
  return behind > 0 ? behind - 1 : 0;
}

// From what says least to what says most. "model" is no help: readers put it in other places.
std::vector<std::string> candidates(const std::string& name) {
  const Parts parts = absl::StrSplit(name, '.');
  const size_t stack = stack_of(parts);
  std::vector<std::string> all;
  for (const bool any_number : {true, false}) {
    Parts tail;
    for (size_t i = stack; i < parts.size(); ++i)
      tail.push_back(any_number ? generalized(parts[i]) : escaped(parts[i]));
    const std::string end = absl::StrCat(absl::StrJoin(tail, "\\."), "$");
    all.push_back(absl::StrCat("re:(.*\\.)?", end));
    for (size_t i = 0; i < stack; ++i) {
      if (parts[i] != "model")
        all.push_back(absl::StrCat("re:(.*\\.)?", escaped(parts[i]), "\\.(.*\\.)?", end));
    }
  }
  all.push_back(name);
  return all;
}

}  // namespace

bool has_several_stacks(const std::vector<std::vector<std::string>>& sets) {
  std::set<std::string> stacks;
  for (const auto& names : sets) {
    for (const std::string& name : names) {
      const Parts parts = absl::StrSplit(name, '.');
      if (std::none_of(parts.begin(), parts.end(), is_number)) continue;
      stacks.insert(absl::StrJoin(parts.begin(), parts.begin() + stack_of(parts) + 1, "."));
    }
  }
  return stacks.size() > 1;
}

std::vector<std::vector<std::string>> hanging_targets(
    const std::vector<std::vector<std::string>>& sets) {
  std::map<std::string, std::set<size_t>> owners;
  for (size_t i = 0; i < sets.size(); ++i) {
    for (const std::string& name : sets[i]) {
      for (std::string& candidate : candidates(name)) owners[std::move(candidate)].insert(i);
    }
  }
  std::vector<std::vector<std::string>> targets(sets.size());
  for (size_t i = 0; i < sets.size(); ++i) {
    std::set<std::string> written;
    for (const std::string& name : sets[i]) {
      for (std::string& candidate : candidates(name)) {
        if (owners[candidate].size() > 1) continue;
        if (written.insert(candidate).second) targets[i].push_back(std::move(candidate));
        break;
      }
    }
  }
  return targets;
}

}  // namespace swage::compressed_tensors
