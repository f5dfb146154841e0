// Writes the block; quantization_config_reader.cc reads it.
#include "quantization_config.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "arguments.h"
#include "experts.h"
#include "hanging.h"
#include "swage/status.h"
#include "targets.h"

namespace swage::compressed_tensors {
namespace {

// The first release whose readers take 3, 5, 6 and 7 bits packed without gaps.
constexpr char kVersion[] = "0.17.0";
constexpr char kHead[] = "lm_head";

Value::Table make_group(const Quantization& quantization, Layout layout) {
  Value inputs;
  if (quantization.activation) inputs = to_table(*input_arguments(*quantization.activation));
  return {{"format", format_name(layout)},
          {"weights", to_table(*to_arguments(*quantization.weight))},
          {"input_activations", std::move(inputs)},
          {"output_activations", Value()}};
}

bool hold_experts(const std::vector<std::string>& linears) {
  return std::any_of(linears.begin(), linears.end(),
                     [](const std::string& name) { return !experts_of(name).empty(); });
}

// A group of linears that `ignore` names too, which wins in every reader. transformers looks for
// the scheme of experts even where all are kept, takes any, and fails on floats unless it is fp8.
Value::Table kept_experts() {
  Value::Table group = make_group({*make_codec({"fp8-e4m3", {}}), nullptr}, Layout::kFloat);
  group["targets"] = Value::List{"re:.*\\.experts\\.\\d+\\..*"};
  return group;
}

// Linears with equal groups, in order of their first linear.
struct Groups {
  std::vector<Value::Table> tables;
  std::vector<std::vector<std::string>> linears;
  bool keeps_experts = false;
  std::string head;  // where it is one of them

  void add(const std::string& linear, Value::Table table) {
    const auto found = std::find(tables.begin(), tables.end(), table);
    const auto index = static_cast<size_t>(found - tables.begin());
    if (found == tables.end()) {
      tables.push_back(std::move(table));
      linears.emplace_back();
    }
    linears[index].push_back(linear);
  }

  // transformers takes the first group that names "experts" for those of all layers, and a shared
  // expert's name holds that word too.
  void put_experts_first() {
    const auto found = std::find_if(linears.begin(), linears.end(), hold_experts);
    if (found == linears.end()) return;
    keeps_experts = false;
    const auto index = found - linears.begin();
    std::rotate(linears.begin(), found, found + 1);
    std::rotate(tables.begin(), tables.begin() + index, tables.begin() + index + 1);
  }

  std::string format() const {
    std::set<std::string> formats;
    for (const Value::Table& table : tables) formats.insert(*table.at("format").text());
    if (keeps_experts) formats.insert(format_name(Layout::kFloat));
    return formats.size() == 1 ? *formats.begin() : "mixed-precision";
  }

  // Of each group, and what is to be ignored.
  std::vector<std::vector<std::string>> targets(const std::vector<std::string>& ignored) const {
    auto sets = linears;
    sets.push_back(ignored);
    if (has_several_stacks(sets)) {
      // Readers hang a head beside the stacks or above them.
      for (std::vector<std::string>& names : sets)
        std::replace(names.begin(), names.end(), head, head.substr(head.rfind('.') + 1));
      return hanging_targets(sets);
    }
    auto exact = make_targets(linears);
    exact.push_back(ignored);
    return exact;
  }

  Value::Table config_groups(const std::vector<std::vector<std::string>>& targets) const {
    Value::Table groups;
    const auto put = [&groups](Value::Table group) {
      groups[absl::StrCat("group_", groups.size())] = std::move(group);
    };
    if (keeps_experts && format() != format_name(Layout::kFloat)) put(kept_experts());
    for (size_t i = 0; i < tables.size(); ++i) {
      Value::Table group = tables[i];
      Value::List names(targets[i].begin(), targets[i].end());
      // transformers calls some heads otherwise than the checkpoint does.
      const bool holds_head = std::count(linears[i].begin(), linears[i].end(), head) > 0;
      if (holds_head && head.substr(head.rfind('.') + 1) != kHead) names.emplace_back(kHead);
      group["targets"] = tables.size() == 1 ? Value::List{"Linear"} : std::move(names);
      put(std::move(group));
    }
    return groups;
  }
};

}  // namespace

absl::StatusOr<Value> make_quantization_config(const std::vector<LinearSummary>& linears,
                                               const std::vector<std::string>& other_matrices) {
  Groups groups;
  std::vector<std::string> ignored, compressed;
  for (const LinearSummary& linear : linears) {
    if (!linear.kept_by.empty()) {
      ignored.push_back(linear.name);
      continue;
    }
    const Quantization quantization{linear.weight, linear.activation};
    const auto layout = choose_layout(quantization, linear.out, linear.in);
    if (!layout.ok()) return annotate(layout.status(), linear.name);
    compressed.push_back(linear.name);
    groups.add(linear.name, make_group(quantization, *layout));
    const bool is_head = linear.place == LinearPlace::kHead || linear.name == kHead;
    if (is_head) groups.head = linear.name;
  }
  if (groups.tables.empty()) return Value();
  const std::vector<std::string> modules = whole_modules(ignored, compressed);
  groups.keeps_experts = hold_experts(ignored);
  groups.put_experts_first();
  const auto targets = groups.targets(ignored);
  ignored = targets.back();
  ignored.insert(ignored.end(), modules.begin(), modules.end());
  ignored.insert(ignored.end(), other_matrices.begin(), other_matrices.end());
  if (groups.head.empty() && std::find(ignored.begin(), ignored.end(), kHead) == ignored.end())
    ignored.emplace_back(kHead);
  return Value(Value::Table{{"quant_method", "compressed-tensors"},
                            {"version", kVersion},
                            {"format", groups.format()},
                            {"quantization_status", "compressed"},
                            {"global_compression_ratio", Value()},
                            {"kv_cache_scheme", Value()},
                            {"sparsity_config", Value::Table()},
                            {"transform_config", Value::Table()},
                            {"ignore", Value::List(ignored.begin(), ignored.end())},
                            {"config_groups", groups.config_groups(targets)}});
}

}  // namespace swage::compressed_tensors
