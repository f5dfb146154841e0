#include "core/config/model_summary.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/config/model_check.h"

namespace swage {
namespace {

int64_t elements_of(const io::TensorInfo& info) {
  return std::accumulate(info.shape.begin(), info.shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

ModelSummary summarize(const io::Header& header, const ComponentManifest& adapter) {
  ModelSummary model;
  for (const auto& [name, info] : header) {
    const int64_t elements = elements_of(info);
    ModelSummary::Size& size = model.types[io::name(info.type)];
    size.tensors += 1;
    size.elements += elements;
    size.bytes += info.end - info.begin;
    const TensorRule rule = rule_of(adapter, name);
    if (rule == TensorRule::kNone || rule == TensorRule::kIgnored) continue;
    model.parameters += elements;
    if (rule == TensorRule::kLinear && info.shape.size() >= 2 && elements > 0) {
      model.linears.push_back(
          {owner_of(name), elements / info.shape.back(), info.shape.back(), info.type});
    } else {
      model.kept_bytes += elements * io::byte_size(info.type);
    }
  }
  return model;
}

std::string numbered_prefix(const std::vector<std::string>& names, int64_t index) {
  if (names.empty()) return "";
  const std::string segment = absl::StrCat(index, ".");
  for (size_t at = names[0].find('.'); at != std::string::npos; at = names[0].find('.', at + 1)) {
    std::string prefix = names[0].substr(0, at + 1);
    if (std::all_of(names.begin(), names.end(), [&](const std::string& name) {
          return absl::StartsWith(name, prefix + segment);
        }))
      return prefix;
  }
  return "";
}

std::vector<std::vector<int64_t>> alike_blocks(const io::Header& header, const std::string& prefix,
                                               int64_t count) {
  std::vector<std::vector<int64_t>> groups;
  std::map<std::string, size_t> known;  // what a block's tensors look like -> its group
  for (int64_t index = 0; index < count; ++index) {
    const std::string start = absl::StrCat(prefix, index, ".");
    std::string look;
    for (auto it = header.lower_bound(start);
         !prefix.empty() && it != header.end() && absl::StartsWith(it->first, start); ++it) {
      absl::StrAppend(&look, it->first.substr(start.size()), " ", io::name(it->second.type), " ",
                      absl::StrJoin(it->second.shape, ","), "\n");
    }
    const auto [found, is_new] = known.emplace(look, groups.size());
    if (is_new) groups.emplace_back();
    groups[found->second].push_back(index);
  }
  return groups;
}

std::string ranges_text(const std::vector<int64_t>& numbers) {
  std::vector<std::string> ranges;
  for (size_t first = 0; first < numbers.size();) {
    size_t last = first;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    ranges.push_back(last == first ? absl::StrCat(numbers[first])
                                   : absl::StrCat(numbers[first], " to ", numbers[last]));
    first = last + 1;
  }
  return absl::StrJoin(ranges, ", ");
}

}  // namespace swage
