#include "core/serve/splits.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/glob.h"

namespace swage {
namespace {

// Rows or columns of one linear on one device.
struct Cut {
  int64_t out, in;
  bool rows = false, columns = false;  // what is cut
};

Cut cut_of(const EngineProfile& profile, const ServedModel& model, int64_t devices,
           const ServedLinear& linear) {
  Cut cut{linear.out, linear.in};
  if (devices == 1) return cut;
  if (glob_match_any(profile.split.column, linear.name)) {
    int64_t parts = devices;
    // Where there are fewer heads of keys than devices, several devices hold the same head.
    if (model.kv_heads > 0 && glob_match_any(profile.split.kv, linear.name))
      parts = std::min(parts, model.kv_heads);
    cut.rows = parts > 1;
    cut.out = linear.out % parts == 0 ? linear.out / parts : -1;
  } else if (glob_match_any(profile.split.row, linear.name)) {
    cut.columns = true;
    cut.in = linear.in % devices == 0 ? linear.in / devices : -1;
  }
  return cut;
}

// Greatest number of devices up to `devices` that leaves whole units and whole heads; 1 always
// does.
int64_t devices_that_do(const ServedModel& model, int64_t size, int64_t unit, int64_t devices) {
  for (int64_t n = devices; n > 1; --n) {
    if (size % (n * unit) == 0 && model.heads % n == 0) return n;
  }
  return 1;
}

std::string remedy(const ServedModel& model, int64_t size, int64_t unit, int64_t devices) {
  return absl::StrCat("; tensor_parallel = ", devices_that_do(model, size, unit, devices),
                      " would do");
}

std::string unit_text(const ServedLinear& linear, int64_t unit) {
  if (linear.weight.keys.count("group") > 0 && linear.weight.has("group") &&
      linear.weight.keys.at("group") == Value(unit))
    return absl::StrCat("groups of ", unit);
  return absl::StrCat("units of ", unit);
}

std::string cut_problem(const ServedModel& model, const ServedLinear& linear, const Cut& cut,
                        bool joined, int64_t devices) {
  const int64_t rows = linear.rows_together, columns = linear.columns_together;
  if (cut.rows && cut.out < 0)
    return absl::StrCat("has ", linear.out, " outputs, which ", devices,
                        " devices cannot share evenly", remedy(model, linear.out, 1, devices));
  if (cut.columns && cut.in < 0)
    return absl::StrCat("has ", linear.in, " inputs, which ", devices,
                        " devices cannot share evenly", remedy(model, linear.in, 1, devices));
  if (cut.rows && cut.out % rows != 0)
    return absl::StrCat("has ", cut.out, " outputs on each of ", devices,
                        " devices, which cuts blocks of ", rows, " rows",
                        remedy(model, linear.out, rows, devices), ", or blocks of fewer rows");
  if (joined && linear.out % rows != 0)
    return absl::StrCat("has ", linear.out,
                        " outputs and is computed in one matrix with others, "
                        "which blocks of ",
                        rows,
                        " rows must not reach into; use blocks of fewer rows, "
                        "or granularity = \"channel\"");
  if (cut.columns && cut.in % columns != 0)
    return absl::StrCat("has ", cut.in, " inputs on each of ", devices, " devices, which cuts ",
                        unit_text(linear, columns), " columns",
                        remedy(model, linear.in, columns, devices),
                        linear.weight.has("group") ? ", or a smaller group" : "");
  return "";
}

}  // namespace

JoinedSets joined_sets(const EngineProfile& profile, const std::vector<ServedLinear>& linears) {
  std::map<std::string, std::vector<const ServedLinear*>> matrices;  // module and number of the set
  for (const ServedLinear& linear : linears) {
    const size_t dot = linear.name.rfind('.');
    if (dot == std::string::npos) continue;
    const std::string word = linear.name.substr(dot + 1);
    for (size_t i = 0; i < profile.fused.size(); ++i) {
      const std::vector<std::string>& names = profile.fused[i];
      if (std::find(names.begin(), names.end(), word) != names.end())
        matrices[absl::StrCat(linear.name.substr(0, dot), " ", i)].push_back(&linear);
    }
  }
  JoinedSets sets;
  for (const auto& [key, members] : matrices) {
    if (members.size() < 2) continue;
    for (const ServedLinear* member : members) sets[member->name] = members;
  }
  return sets;
}

std::string experts_of(const EngineProfile& profile, const std::string& linear) {
  if (profile.experts.empty()) return "";
  const std::string module = absl::StrCat(".", profile.experts, ".");
  const size_t at = linear.find(module);
  if (at == std::string::npos) return "";
  const size_t index = at + module.size();
  if (index >= linear.size() || !absl::ascii_isdigit(static_cast<unsigned char>(linear[index])))
    return "";
  const std::string path = linear.substr(0, index - 1);
  if (profile.experts_by == EngineProfile::Experts::kLayer) return path;
  if (profile.experts_by == EngineProfile::Experts::kModel) return profile.experts;
  return absl::StrCat(path, ".*", linear.substr(linear.rfind('.')));
}

Share share_of(const EngineProfile& profile, const ServedModel& model, const Serving& serving,
               const JoinedSets& joined, const ServedLinear& linear, std::string* problem) {
  const int64_t devices = serving.tensor_parallel;
  const Cut cut = cut_of(profile, model, devices, linear);
  Share share{{}, cut.out, cut.in};
  const auto found = joined.find(linear.name);
  if (found != joined.end()) share.joined = found->second;
  *problem = cut_problem(model, linear, cut, !share.joined.empty(), devices);
  if (share.joined.empty() || !problem->empty()) return share;
  share.out = 0;
  for (const ServedLinear* member : share.joined)
    share.out += std::max<int64_t>(0, cut_of(profile, model, devices, *member).out);
  return share;
}

std::string heads_problem(const ServedModel& model, int64_t devices) {
  if (model.heads > 0 && model.heads % devices != 0)
    return absl::StrCat("tensor_parallel = ", devices, " does not divide the ", model.heads,
                        " heads of attention; ", devices_that_do(model, model.heads, 1, devices),
                        " would do");
  const bool even =
      model.kv_heads == 0 || model.kv_heads % devices == 0 || devices % model.kv_heads == 0;
  if (!even)
    return absl::StrCat("tensor_parallel = ", devices, " and ", model.kv_heads,
                        " heads of keys and values: neither divides the other; ",
                        devices_that_do(model, model.kv_heads, 1, devices), " would do");
  return "";
}

}  // namespace swage
