#include "core/config/model_check.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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

// The last linear is an example of a name.
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
      return glob_match(override.match, linear.name) && takes(step, linear.name);
    });
    if (!used) report(override.where, override.match, "override.match");
  }
}

// The first linear whose overrides do not go together.
void check_overrides(const Step& step, const std::vector<ModelOutline::Linear>& linears,
                     Problems* problems) {
  for (const ModelOutline::Linear& linear : linears) {
    const auto scheme = resolve_scheme(step, linear.name);
    if (!scheme.ok()) return problems->add({}, std::string(scheme.status().message()));
  }
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
  for (std::vector<ModelOutline::Linear>* linears : {&outline->linears, &outline->ends}) {
    for (ModelOutline::Linear& linear : *linears) {
      if (linear.kept_by.empty() && std::count(towers.begin(), towers.end(), linear.tower) == 0)
        linear.kept_by = tower_rule(linear.tower);
    }
  }
}

std::string tower_rule(const std::string& tower) {
  return absl::StrCat("the ", tower, " tower is not among [model] towers");
}

absl::Status check_steps(const Pipeline& pipeline, const ModelOutline& model) {
  Problems problems;
  std::vector<ModelOutline::Linear> all = model.ends;
  all.insert(all.end(), model.linears.begin(), model.linears.end());
  for (const Step& step : pipeline.steps) {
    check_globs(step, all, &problems);
    check_overrides(step, all, &problems);
  }
  return problems.status();
}

}  // namespace swage
