#include "quantization_config.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "swage/status.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/integer_form.h"

namespace swage::modelopt {
namespace {

constexpr char kAlgorithm[] = "quant_algo", kGroup[] = "group_size", kMixed[] = "MIXED_PRECISION",
               kLayers[] = "quantized_layers", kHead[] = "lm_head";

using Layers = std::vector<std::pair<std::string, Quantization>>;

absl::StatusOr<Layers> layers_of(const ExportContext& context) {
  Layers layers;
  for (const LinearSummary& linear : store::compressed_of(context.linears())) {
    SWAGE_ASSIGN_OR_RETURN(const Quantization quantization, quantization_of(linear));
    layers.emplace_back(linear.name, quantization);
  }
  return layers;
}

bool mixed(const Layers& layers) {
  return std::any_of(layers.begin(), layers.end(),
                     [&](const auto& layer) { return !(layer.second == layers.front().second); });
}

Value::Table words(const Quantization& quantization) {
  Value::Table table = {{kAlgorithm, name_of(quantization.algorithm)}};
  if (quantization.group > 0) table[kGroup] = quantization.group;
  if (quantization.algorithm == Algorithm::kW4Awq) {
    table["has_zero_point"] = false;
    table["pre_quant_scale"] = false;
  }
  return table;
}

Value::List float_modules(const ExportContext& context) {
  std::vector<std::string> modules = store::float_modules(context);
  if (std::find(modules.begin(), modules.end(), kHead) == modules.end()) modules.push_back(kHead);
  return Value::List(modules.begin(), modules.end());
}

// The release whose files these are; engines look for the name.
Value producer() { return Value::Table{{"name", "modelopt"}, {"version", "0.39.0"}}; }

// A config group, but for its targets.
Value::Table group_of(const Quantization& quantization) {
  const Algorithm algorithm = quantization.algorithm;
  if (algorithm == Algorithm::kFp8Blocks) return {{kAlgorithm, name_of(algorithm)}};  // ModelOpt's
  const bool eight = quantization.group == 0 || algorithm == Algorithm::kMxfp8;
  Value::Table weights = {{"dynamic", false},
                          {"num_bits", eight ? 8 : 4},
                          {"type", quantization.is_integer() ? "int" : "float"}};
  if (quantization.group > 0) weights[kGroup] = quantization.group;
  Value::Table inputs = weights;
  if (algorithm == Algorithm::kInt8) weights["strategy"] = "channel";
  if (algorithm == Algorithm::kFp8PerToken) {
    weights["strategy"] = "channel";
    inputs["dynamic"] = true;
    inputs["strategy"] = "token";
  }
  Value::Table group = {{"weights", std::move(weights)}};
  if (algorithm != Algorithm::kW4Nvfp4 && algorithm != Algorithm::kW4Awq)
    group["input_activations"] = std::move(inputs);
  return group;
}

Value groups_of(const Layers& layers) {
  if (!mixed(layers)) {
    Value::Table group = group_of(layers.front().second);
    group["targets"] = Value::List{"Linear"};
    return Value::Table{{"group_0", std::move(group)}};
  }
  std::vector<std::pair<Quantization, Value::List>> targets;
  for (const auto& [name, quantization] : layers) {
    const auto known =
        std::find_if(targets.begin(), targets.end(),
                     [&q = quantization](const auto& target) { return target.first == q; });
    if (known == targets.end())
      targets.emplace_back(quantization, Value::List{name});
    else
      known->second.emplace_back(name);
  }
  Value::Table groups;
  for (size_t i = 0; i < targets.size(); ++i) {
    Value::Table group = group_of(targets[i].first);
    group["targets"] = targets[i].second;
    groups[absl::StrCat("group_", i)] = std::move(group);
  }
  return groups;
}

Value::Table algorithms_of(const Layers& layers) {
  if (!mixed(layers)) return words(layers.front().second);
  Value::Table each;
  for (const auto& [name, quantization] : layers) each[name] = words(quantization);
  return {{kAlgorithm, kMixed}, {kLayers, std::move(each)}};
}

// As fnmatch: `*` stands for anything.
bool matches(absl::string_view pattern, absl::string_view name) {
  size_t p = 0, n = 0, star = absl::string_view::npos, from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (p < pattern.size() && (pattern[p] == name[n] || pattern[p] == '?')) {
      ++p, ++n;
    } else if (star != absl::string_view::npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// A module is ignored with all that it holds.
bool ignored(const Value& list, const std::string& linear) {
  if (list.list() == nullptr) return false;
  return std::any_of(list.list()->begin(), list.list()->end(), [&](const Value& entry) {
    return entry.text() != nullptr &&
           (matches(*entry.text(), linear) || matches(absl::StrCat(*entry.text(), ".*"), linear));
  });
}

absl::Status wrong(const std::string& key, const Value& found, const std::string& expected) {
  return absl::InvalidArgumentError(absl::StrCat("quantization_config.", key, " is ",
                                                 to_json(found, -1), ", expected ", expected));
}

absl::StatusOr<Quantization> read(const std::string& path, const Value& table) {
  const std::string key = path + kAlgorithm, group_key = path + kGroup;
  const auto algorithm = algorithm_named(table.str(kAlgorithm, ""));
  if (!algorithm.ok())
    return wrong(key, table[kAlgorithm], std::string(algorithm.status().message()));
  Quantization quantization{*algorithm, 0};
  if (quantization.is_fp8() || *algorithm == Algorithm::kInt8) return quantization;
  const bool nvfp4 = quantization.is_nvfp4(), mxfp8 = *algorithm == Algorithm::kMxfp8;
  const Value& group = table[kGroup];
  quantization.group = group.integer() != nullptr ? *group.integer() : 0;
  if (group.is_null() && nvfp4) quantization.group = 16;
  if (group.is_null() && mxfp8) quantization.group = 32;
  if (nvfp4 && quantization.group != 16) return wrong(group_key, group, "16");
  if (mxfp8 && quantization.group != 32) return wrong(group_key, group, "32");
  if (quantization.group < 1 || quantization.group > (int64_t{1} << 30))
    return wrong(group_key, group, "columns of a group");
  if (table.flag("has_zero_point", false))
    return wrong(path + "has_zero_point", true, "false: codes are two's complement");
  return quantization;
}

}  // namespace

absl::StatusOr<Value> make_hf_quant_config(const ExportContext& context) {
  SWAGE_ASSIGN_OR_RETURN(const Layers layers, layers_of(context));
  Value::Table quantization = algorithms_of(layers);
  quantization["kv_cache_quant_algo"] = Value();
  quantization["exclude_modules"] = float_modules(context);
  return Value(Value::Table{{"producer", producer()}, {"quantization", std::move(quantization)}});
}

absl::StatusOr<Value> make_quantization_config(const ExportContext& context) {
  SWAGE_ASSIGN_OR_RETURN(const Layers layers, layers_of(context));
  Value::Table config = algorithms_of(layers);
  config["quant_method"] = "modelopt";
  config["ignore"] = float_modules(context);
  config["producer"] = producer();
  config["config_groups"] = groups_of(layers);
  for (const LinearSummary& linear : store::compressed_of(context.linears())) {
    if (linear.weight->format() != "int") continue;
    config["scale_dtype"] = store::dtype_name(store::scale_type(linear));
    break;
  }
  return Value(std::move(config));
}

absl::StatusOr<std::optional<Quantization>> find_linear(const Value& quantization_config,
                                                        const std::string& linear) {
  const Value& config = quantization_config;
  if (config.str("quant_method", "") != "modelopt")
    return wrong("quant_method", config["quant_method"], "\"modelopt\"");
  if (!config["kv_cache_scheme"].is_null())
    return wrong("kv_cache_scheme", config["kv_cache_scheme"],
                 "none: keys and values are computed in floats");
  if (config.str(kAlgorithm, "") != kMixed) {
    if (ignored(config["ignore"], linear)) return std::nullopt;
    SWAGE_ASSIGN_OR_RETURN(const Quantization all, read("", config));
    return all;
  }
  const Value& layers = config[kLayers];
  if (layers.table() == nullptr) return wrong(kLayers, layers, "a table of modules");
  if (!layers.has(linear)) return std::nullopt;
  SWAGE_ASSIGN_OR_RETURN(const Quantization own,
                         read(absl::StrCat(kLayers, ".", linear, "."), layers[linear]));
  return own;
}

}  // namespace swage::modelopt
