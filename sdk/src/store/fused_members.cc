#include "swage/store/fused_members.h"

#include <ATen/ops/equal.h>

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/remark.h"
#include "swage/status.h"

namespace swage::store {
namespace {

const std::vector<std::vector<std::string>>& known_sets() {
  static const std::vector<std::vector<std::string>> sets = {{"q_proj", "k_proj", "v_proj"},
                                                             {"gate_proj", "up_proj"},
                                                             {"w1", "w3"},
                                                             {"q_a_proj", "kv_a_proj_with_mqa"}};
  return sets;
}

std::string shown(const LinearSummary& linear) {
  if (!linear.kept_by.empty()) return "kept in floats";
  return absl::StrCat(linear.weight->describe(), linear.activation ? " with " : "",
                      linear.activation ? linear.activation->describe() : "");
}

// Levels may be fitted in different ways; what files say of them is the same then.
bool alike(const LinearSummary& a, const LinearSummary& b) {
  if (a.kept_by.empty() != b.kept_by.empty()) return false;
  if (!a.kept_by.empty()) return true;
  if (a.weight->form() != b.weight->form()) return false;
  if (!a.activation || !b.activation) return !a.activation && !b.activation;
  return a.activation->form() == b.activation->form();
}

}  // namespace

std::vector<std::vector<const LinearSummary*>> fused_members(
    const std::vector<LinearSummary>& linears) {
  std::map<std::string, const LinearSummary*> by_name;
  for (const LinearSummary& linear : linears) by_name.emplace(linear.name, &linear);
  std::vector<std::vector<const LinearSummary*>> matrices;
  for (const LinearSummary& linear : linears) {
    const size_t dot = linear.name.rfind('.') + 1;
    for (const std::vector<std::string>& set : known_sets()) {
      if (linear.name.compare(dot, std::string::npos, set.front()) != 0) continue;
      std::vector<const LinearSummary*> members;
      for (const std::string& name : set) {
        const auto found = by_name.find(linear.name.substr(0, dot) + name);
        if (found != by_name.end()) members.push_back(found->second);
      }
      if (members.size() > 1) matrices.push_back(std::move(members));
    }
  }
  return matrices;
}

absl::Status check_members_alike(const std::vector<LinearSummary>& planned) {
  for (const auto& members : fused_members(planned)) {
    for (const LinearSummary* member : members) {
      const LinearSummary& first = *members.front();
      if (alike(first, *member)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          member->name, " is ", shown(*member), " and ", first.name, " is ", shown(first),
          ": engines multiply both as one matrix; give both one scheme, or keep both"));
    }
  }
  return absl::OkStatus();
}

absl::Status check_members_share(const std::vector<LinearSummary>& planned) {
  for (const auto& members : fused_members(planned)) {
    for (const LinearSummary* member : members) {
      if (!member->kept_by.empty() || member->weight->wants_fused()) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          member->name, ": ", member->weight->describe(),
          " has a scale of its own, and engines "
          "multiply by it and ",
          members.front() == member ? members.back()->name : members.front()->name,
          " as by one matrix with one scale, to which they would round the codes once more; write "
          "share = \"fused\" into the weight scheme"));
    }
  }
  return absl::OkStatus();
}

absl::Status check_members_equal(const ExportContext& context, const std::string& part) {
  for (const auto& members : fused_members(context.linears())) {
    const std::string first = absl::StrCat(members.front()->name, ".", part);
    if (!context.tensors().has(first)) continue;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor expected, context.tensors().read(first));
    if (expected.numel() != 1) continue;
    for (const LinearSummary* member : members) {
      const std::string name = absl::StrCat(member->name, ".", part);
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor found, context.tensors().read(name));
      if (at::equal(found, expected)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          name, " is ", found.flatten()[0].item<double>(), " and ", first, " is ",
          expected.flatten()[0].item<double>(),
          ": engines multiply both as one matrix with one scale; let one step with share = "
          "\"fused\" compress both"));
    }
  }
  return absl::OkStatus();
}

void remark_on_expert_inputs(const std::vector<LinearSummary>& planned) {
  for (const LinearSummary& linear : planned) {
    if (!linear.kept_by.empty() || !linear.activation) continue;
    if (!absl::StrContains(linear.name, ".experts.")) continue;
    if (linear.activation->input_levels(-1, 1).empty()) continue;
    return remark(absl::StrCat(
        "experts have inputs with a static scale each (", linear.name,
        "): engines take the greatest of a layer for all of them, which is not what was measured"));
  }
}

}  // namespace swage::store
