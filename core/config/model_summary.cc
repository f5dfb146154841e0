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

constexpr int64_t kGroup = 128, kSmallGroup = 64, kSmallestGroup = 16;

int64_t elements_of(const io::TensorInfo& info) {
  return std::accumulate(info.shape.begin(), info.shape.end(), int64_t{1}, std::multiplies<>());
}

WeightScheme integers(int bits, int64_t group) {
  WeightScheme scheme;
  scheme.bits = bits;
  scheme.granularity = group > 0 ? Granularity::kGroup : Granularity::kChannel;
  scheme.group_size = group;
  return scheme;
}

WeightScheme floats() {
  WeightScheme scheme = integers(8, 0);
  scheme.format = NumberFormat::kFp8E4M3;
  return scheme;
}

// The largest group of at most kGroup columns that divides all widths; 0 when that is a small one.
int64_t even_group(const ModelSummary& model) {
  int64_t common = 0;
  for (const ModelSummary::Matrix& linear : model.linears) common = std::gcd(common, linear.in);
  for (int64_t group = std::min(common, kGroup); group >= kSmallestGroup; --group) {
    if (common % group == 0) return group;
  }
  return 0;
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

SchemeWeight weigh(const ModelSummary& model, const WeightScheme& scheme) {
  SchemeWeight weight;
  weight.scheme = scheme;
  int64_t bits = 0, elements = 0;
  for (const ModelSummary::Matrix& linear : model.linears) {
    const int64_t scales = linear.rows * scheme.group_count(linear.in);
    elements += linear.rows * linear.in;
    bits += linear.rows * linear.in * scheme.bits + scales * io::byte_size(linear.type) * 8;
    const bool even = linear.in % scheme.group_width(linear.in) == 0;
    if (!even && weight.uneven == 0) weight.uneven = linear.in;
  }
  if (elements > 0)
    weight.bits_per_weight = static_cast<double>(bits) / static_cast<double>(elements);
  weight.bytes = model.kept_bytes + (bits + 7) / 8;
  return weight;
}

std::vector<SchemeWeight> weigh_common_schemes(const ModelSummary& model) {
  std::vector<SchemeWeight> weights = {weigh(model, integers(4, kGroup))};
  const SchemeWeight small = weigh(model, integers(4, kSmallGroup));
  const int64_t even = even_group(model);
  if (small.uneven == 0) {
    weights.push_back(small);
  } else if (even > 0) {
    weights.push_back(weigh(model, integers(4, even)));
  }
  weights.push_back(weigh(model, integers(8, 0)));
  weights.push_back(weigh(model, floats()));
  return weights;
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
