#include "core/serve/check_served.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/glob.h"
#include "core/serve/rule_fit.h"
#include "core/serve/splits.h"

namespace swage {
namespace {

class Check {
 public:
  Check(const EngineProfile& profile, const ExportRules& rules, const ServedModel& model,
        const Serving& serving)
      : profile_(profile),
        rules_(rules),
        model_(model),
        serving_(serving),
        joined_(joined_sets(profile, model.linears)) {}

  std::vector<std::string> run() {
    check_devices();
    if (!problems_.empty()) return problems_;
    for (const ServedLinear& linear : model_.linears) check_linear(linear);
    if (!rules_.floats) {
      check_sets();
      check_whole();
    }
    check_cache();
    for (const std::string& text : order_) problems_.push_back(told(text, found_[text]));
    return problems_;
  }

 private:
  void check_devices() {
    const int64_t devices = serving_.tensor_parallel;
    if (devices > 1 && !profile_.splits) {
      problems_.push_back(absl::StrCat(profile_.engine,
                                       " is not known to share matrices among "
                                       "devices; leave tensor_parallel out"));
      return;
    }
    const std::string heads = heads_problem(model_, devices);
    if (!heads.empty()) problems_.push_back(heads);
    check_device();
  }

  // A device that no rule speaks of at all is a slip of the pen, or one that nobody has looked at.
  void check_device() {
    if (!serving_.device || rules_.floats) return;
    std::set<std::string> known;
    for (const AcceptRule& rule : rules_.accepts) {
      if (rule.devices.empty()) return;
      for (const DeviceRange& range : rule.devices) {
        if (range.covers(*serving_.device)) return;
        known.insert(range.text);
      }
    }
    problems_.push_back(absl::StrCat("device = \"", text_of(*serving_.device),
                                     "\": ", profile_.engine, " reads nothing that ", rules_.use,
                                     " writes there, as far as is known; its rules are about ",
                                     absl::StrJoin(known, ", ")));
  }

  void check_linear(const ServedLinear& linear) {
    if (linear.kept || rules_.floats) return;
    std::string problem;
    const Share share = share_of(profile_, model_, serving_, joined_, linear, &problem);
    if (!problem.empty()) return add(problem, linear);
    if (glob_match_any(profile_.never, linear.name))
      return add("must stay in floats there; keep it: keep = true in an override", linear);
    check_parts(linear);
    const AcceptRule* nearest = nullptr;
    std::vector<Misfit> best;
    int least = 0;
    for (const AcceptRule& rule : rules_.accepts) {
      std::vector<Misfit> here = misfits(profile_, rule, linear, share, serving_);
      if (here.empty()) return;
      int sum = 0;
      for (const Misfit& misfit : here) sum += misfit.weight;
      if (nearest != nullptr && sum >= least) continue;
      nearest = &rule;
      best = std::move(here);
      least = sum;
    }
    std::vector<std::string> found, accepted, remedies;
    const auto once = [](std::vector<std::string>* list, const std::string& text) {
      if (std::find(list->begin(), list->end(), text) == list->end()) list->push_back(text);
    };
    for (const Misfit& misfit : best) {
      once(&found, misfit.found);
      once(&accepted, misfit.accepted);
      once(&remedies, misfit.remedy);
    }
    add(absl::StrCat("is ", linear.text, " (", absl::StrJoin(found, ", "), "); the nearest that ",
                     profile_.engine, " takes is ", absl::StrJoin(accepted, " and "), "; write ",
                     absl::StrJoin(remedies, " and ")),
        linear);
  }

  void check_parts(const ServedLinear& linear) {
    if (linear.act_order && !rules_.act_order)
      add("has groups whose columns are scattered (act-order), which it does not read; groups of "
          "neighbouring columns do",
          linear);
    if (linear.mask && !rules_.masks)
      add("may have a mask, for which it has no kernels; leave out the step that prunes", linear);
    if (linear.sides)
      add("may have single outliers or paths beside its codes, which it does not read; leave out "
          "the step that makes them",
          linear);
    if (!linear.transform) return;
    if (!rules_.transforms)
      add("may transform its input at run time, which it does not; leave out what asks for it",
          linear);
    else if (rules_.transforms_alone && serving_.tensor_parallel > 1)
      add("may transform its input at run time, which it does on one device only; write "
          "tensor_parallel = 1",
          linear);
  }

  // Linears that are computed together have one scheme.
  void check_sets() {
    std::map<std::string, std::vector<const ServedLinear*>> experts;
    std::vector<const ServedLinear*> all;
    std::set<const ServedLinear*> seen;
    for (const ServedLinear& linear : model_.linears) {
      const auto joined = joined_.find(linear.name);
      if (joined != joined_.end() && seen.insert(joined->second.front()).second)
        compare(joined->second, "are computed in one matrix");
      const std::string set = experts_of(profile_, linear.name);
      if (!set.empty()) experts[set].push_back(&linear);
      if (!linear.kept) all.push_back(&linear);
    }
    for (const auto& [set, members] : experts) compare(members, "are computed together as experts");
    if (rules_.one_scheme) compare(all, "are in files that state one scheme for all");
  }

  void compare(const std::vector<const ServedLinear*>& members, const std::string& why) {
    if (members.empty()) return;
    const ServedLinear& first = *members.front();
    for (const ServedLinear* member : members) {
      const bool same = first.kept == member->kept && (first.kept || first.form == member->form);
      if (same) continue;
      add(absl::StrCat("is ", state_of(*member), " while ", first.name, " is ", state_of(first),
                       ": they ", why, "; give them one scheme, or keep all of them"),
          *member, absl::StrCat(why, state_of(*member), state_of(first)));
      return;
    }
  }

  static std::string state_of(const ServedLinear& linear) {
    return linear.kept ? "kept in floats" : linear.text;
  }

  void check_whole() {
    if (!rules_.whole) return;
    for (const ServedLinear& linear : model_.linears) {
      if (!linear.kept || linear.is_head || linear.is_embedding) continue;
      if (!glob_match_any(profile_.never, linear.name))
        add("is kept in floats, but all linears of the blocks have to be compressed there", linear);
    }
  }

  void check_cache() {
    if (!model_.kv || rules_.floats) return;
    std::vector<std::string> known;
    for (const SchemeConditions& one : rules_.kv) {
      const bool fits = std::all_of(one.begin(), one.end(), [&](const auto& condition) {
        const auto& [key, values] = condition;
        const auto it = model_.kv->keys.find(key);
        const Value found = key == "format"               ? Value(model_.kv->format)
                            : it == model_.kv->keys.end() ? Value()
                                                          : it->second;
        return std::find(values.begin(), values.end(), found) != values.end();
      });
      if (fits) return;
      known.push_back(describe(one));
    }
    problems_.push_back(absl::StrCat("the cache of keys and values is ",
                                     to_json(to_value(*model_.kv), -1), "; ", profile_.engine,
                                     known.empty() ? " reads no scales for it" : " takes ",
                                     absl::StrJoin(known, ", or ")));
  }

  // The same of many linears is said once; `alike` is what makes it the same.
  void add(const std::string& text, const ServedLinear& linear, const std::string& alike = "") {
    const std::string& key = alike.empty() ? text : alike;
    if (found_[key].empty()) {
      order_.push_back(key);
      texts_[key] = text;
    }
    found_[key].push_back(linear.name);
  }

  std::string told(const std::string& key, const std::vector<std::string>& names) const {
    const size_t more = names.size() - 1;
    return absl::StrCat(names.front(), more > 0 ? absl::StrCat(" (and ", more, " more)") : "", " ",
                        texts_.at(key));
  }

  const EngineProfile& profile_;
  const ExportRules& rules_;
  const ServedModel& model_;
  const Serving& serving_;
  const JoinedSets joined_;
  std::vector<std::string> problems_, order_;
  std::map<std::string, std::string> texts_;
  std::map<std::string, std::vector<std::string>> found_;
};

}  // namespace

std::vector<std::string> check_served(const EngineProfile& profile, const std::string& use,
                                      const ServedModel& model, const Serving& serving) {
  const ExportRules* const rules = profile.find(use);
  if (rules != nullptr && rules->refused.empty())
    return Check(profile, *rules, model, serving).run();
  std::vector<std::string> read;
  for (const ExportRules& one : profile.exports) {
    if (one.refused.empty()) read.push_back(one.use);
  }
  return {absl::StrCat(profile.engine, " reads nothing that \"", use, "\" writes",
                       rules != nullptr ? ": " + rules->refused : ", as far as is known",
                       "; it reads exports of ", absl::StrJoin(read, ", "))};
}

}  // namespace swage
