#include "core/engine/width_check.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/config/param_check.h"
#include "core/engine/outcome.h"

namespace swage {
namespace {

std::string examples(const std::vector<std::string>& names) {
  const size_t shown = std::min<size_t>(names.size(), 3);
  return absl::StrCat(absl::StrJoin(names.begin(), names.begin() + shown, ", "),
                      names.size() > shown ? ", …" : "");
}

// Linears of one step whose groups do not come out even.
struct UnevenGroups {
  struct Key {
    std::string format;
    int64_t multiple, width;
    bool has_group, has_tail, has_channel;
    bool operator<(const Key& other) const {
      return std::tie(format, multiple, width) <
             std::tie(other.format, other.multiple, other.width);
    }
  };
  std::map<Key, std::vector<std::string>> linears;
  int64_t common = 0;  // gcd of all grouped widths of the step
};

// Sizes that readers have kernels for, the usual ones first; 8, which few take, where no other
// does.
std::string advice(int64_t common, bool has_tail, bool has_channel) {
  std::vector<std::string> sizes;
  for (const int64_t size : {128, 64, 32, 256, 512, 1024, 16, 8}) {
    const bool wanted = sizes.size() < 3 && (size > 8 || sizes.empty());
    if (wanted && common % size == 0) sizes.push_back(absl::StrCat(size));
  }
  std::vector<std::string> ways;
  if (!sizes.empty())
    ways.push_back(absl::StrCat("group = ", absl::StrJoin(sizes, ", "), " would do"));
  if (sizes.empty() && has_channel) ways.push_back("use granularity = \"channel\"");
  if (has_tail) ways.push_back("group_tail = \"short\" allows a shorter last group");
  if (ways.empty()) ways.push_back("give these linears another format by an override");
  return absl::StrCat(sizes.empty() ? "no group size that engines take divides them all; " : "",
                      absl::StrJoin(ways, ", or "));
}

void add_problems(const Step& step, const UnevenGroups& uneven, Problems* problems) {
  for (const auto& [key, names] : uneven.linears) {
    const std::string what = key.has_group ? absl::StrCat("group = ", key.multiple)
                                           : absl::StrCat("format = \"", key.format, "\" stores ",
                                                          key.multiple, " columns together, which");
    problems->add(
        step.where,
        absl::StrCat("step \"", step.name, "\": ", what, " does not divide the input width ",
                     key.width, " of ", names.size(),
                     names.size() == 1 ? " linear (" : " linears (", examples(names), "); ",
                     key.has_group ? advice(uneven.common, key.has_tail, key.has_channel)
                                   : "give these linears another format by an override"));
  }
}

}  // namespace

absl::Status check_widths(const Pipeline& pipeline, const std::vector<LinearSummary>& planned) {
  std::map<const Step*, UnevenGroups> steps;
  for (const LinearSummary& linear : planned) {
    if (!linear.kept_by.empty()) continue;
    const int64_t multiple = linear.weight->column_multiple();
    const Step* const step = deciding_step(pipeline.steps, linear.name);
    if (multiple == 1 || step == nullptr) continue;
    UnevenGroups& uneven = steps[step];
    uneven.common = std::gcd(uneven.common, linear.in);
    if (linear.in % multiple == 0) continue;
    const Scheme& scheme = linear.weight->scheme();
    uneven
        .linears[{scheme.format, multiple, linear.in, scheme.has("group"), scheme.has("group_tail"),
                  scheme.has("granularity")}]
        .push_back(linear.name);
  }
  Problems problems;
  for (const Step& step : pipeline.steps) {
    if (const auto found = steps.find(&step); found != steps.end())
      add_problems(step, found->second, &problems);
  }
  return problems.status();
}

}  // namespace swage
