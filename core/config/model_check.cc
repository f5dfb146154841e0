#include "core/config/model_check.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/base/glob.h"
#include "core/catalog/adapter_rules.h"
#include "core/config/param_check.h"
#include "swage/scheme.h"
#include "swage/status.h"

namespace swage {
namespace {

// Manifests may name a tensor or the module it belongs to.
bool fits(const std::vector<std::string>& globs, const std::string& tensor) {
  return glob_match_any(globs, tensor) || glob_match_any(globs, owner_of(tensor));
}

std::string examples(const std::vector<std::string>& names) {
  const size_t shown = std::min<size_t>(names.size(), 3);
  return absl::StrCat(absl::StrJoin(names.begin(), names.begin() + shown, ", "),
                      names.size() > shown ? ", …" : "");
}

// Linears of one step whose groups do not come out even.
struct UnevenGroups {
  std::map<std::pair<int64_t, int64_t>, std::vector<std::string>>
      linears;         // (group, width) -> names
  int64_t common = 0;  // gcd of all grouped widths of the step
};

// Sizes that readers have kernels for, the usual ones first; 8, which few take, where no other
// does.
std::string advice(int64_t common) {
  std::vector<std::string> sizes;
  for (const int64_t size : {128, 64, 32, 256, 512, 1024, 16, 8}) {
    const bool wanted = sizes.size() < 3 && (size > 8 || sizes.empty());
    if (wanted && common % size == 0) sizes.push_back(absl::StrCat(size));
  }
  const std::string tail = "group_tail = \"short\" allows a shorter last group";
  if (sizes.empty())
    return absl::StrCat(
        "no group size that engines take divides them all; use granularity = "
        "\"channel\", or ",
        tail);
  return absl::StrCat("group = ", absl::StrJoin(sizes, ", "), " would do, or ", tail);
}

void add_group_problems(const Step& step, const UnevenGroups& uneven, Problems* problems) {
  for (const auto& [key, names] : uneven.linears) {
    problems->add(step.where,
                  absl::StrCat("step \"", step.name, "\": group = ", key.first,
                               " does not divide the input width ", key.second, " of ",
                               names.size(), names.size() == 1 ? " linear (" : " linears (",
                               examples(names), "); ", advice(uneven.common)));
  }
}

void check_globs(const Step& step, const std::vector<ModelOutline::Linear>& linears,
                 Problems* problems) {
  const auto report = [&](const SourceLocation& where, const std::string& glob, const char* key) {
    problems->add(where,
                  absl::StrCat("step \"", step.name, "\": ", key, " \"", glob, "\" fits no linear",
                               linears.empty() ? ""
                                               : absl::StrCat("; they are called, for example, \"",
                                                              linears.back().name, "\"")));
  };
  for (const std::string& glob : step.match) {
    if (std::none_of(linears.begin(), linears.end(),
                     [&](const auto& linear) { return glob_match(glob, linear.name); })) {
      report(step.where, glob, "match");
    }
  }
  for (const Override& override : step.overrides) {
    const bool used = std::any_of(linears.begin(), linears.end(), [&](const auto& linear) {
      return glob_match(override.match, linear.name) &&
             (step.match.empty() || glob_match_any(step.match, linear.name));
    });
    if (!used) report(override.where, override.match, "override.match");
  }
}

void check_groups(const Step& step, const std::vector<ModelOutline::Linear>& linears,
                  Problems* problems) {
  UnevenGroups uneven;
  for (const ModelOutline::Linear& linear : linears) {
    const auto scheme = resolve_scheme(step, linear.name);
    if (!scheme.ok()) return problems->add({}, std::string(scheme.status().message()));
    const WeightScheme& weight = scheme->weight;
    // Without a weight table, a step that names activations quantizes those alone.
    const bool quantizes = linear.kept_by.empty() && step.takes_weight && scheme->applies &&
                           !scheme->keep && (step.weight_given || !scheme->activation);
    if (!quantizes || weight.granularity != Granularity::kGroup || weight.group_tail_short)
      continue;
    uneven.common = std::gcd(uneven.common, linear.in);
    if (linear.in % weight.group_size != 0)
      uneven.linears[{weight.group_size, linear.in}].push_back(linear.name);
  }
  add_group_problems(step, uneven, problems);
}

}  // namespace

std::string owner_of(const std::string& tensor) {
  for (const char* suffix : {".weight", ".bias"}) {
    if (absl::EndsWith(tensor, suffix))
      return tensor.substr(0, tensor.size() - std::string(suffix).size());
  }
  return tensor;
}

TensorRule rule_of(const ComponentManifest& adapter, const std::string& tensor) {
  if (fits(adapter.linears, tensor)) return TensorRule::kLinear;
  if (fits(adapter.routers, tensor)) return TensorRule::kRouter;
  if (fits(adapter.kept, tensor)) return TensorRule::kKept;
  return fits(adapter.ignored, tensor) ? TensorRule::kIgnored : TensorRule::kNone;
}

ModelOutline outline_model(const io::Header& header, const ComponentManifest& adapter) {
  ModelOutline outline;
  outline.adapter = adapter.name;
  for (const auto& [name, info] : header) {
    const TensorRule rule = rule_of(adapter, name);
    if (rule == TensorRule::kNone || rule == TensorRule::kIgnored) continue;
    outline.parameters +=
        std::accumulate(info.shape.begin(), info.shape.end(), int64_t{1}, std::multiplies<>());
    outline.bytes += info.end - info.begin;
    const bool linear = rule == TensorRule::kLinear || rule == TensorRule::kRouter;
    if (linear && info.shape.size() >= 2)
      outline.linears.push_back({owner_of(name), info.shape[info.shape.size() - 2],
                                 info.shape.back(), rule == TensorRule::kRouter ? kRouterRule : "",
                                 tower_of(adapter, owner_of(name))});
  }
  return outline;
}

void keep_other_towers(const std::vector<std::string>& towers, ModelOutline* outline) {
  for (ModelOutline::Linear& linear : outline->linears) {
    if (linear.kept_by.empty() && std::count(towers.begin(), towers.end(), linear.tower) == 0)
      linear.kept_by = tower_rule(linear.tower);
  }
}

std::string tower_rule(const std::string& tower) {
  return absl::StrCat("the ", tower, " tower is not among [model] towers");
}

absl::Status check_steps(const Pipeline& pipeline, const ModelOutline& model) {
  Problems problems;
  for (const Step& step : pipeline.steps) {
    check_globs(step, model.linears, &problems);
    check_groups(step, model.linears, &problems);
  }
  return problems.status();
}

}  // namespace swage
