#include "core/serve/rule_fit.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace swage {
namespace {

// How far a mismatch is from fitting: another format is further than another group.
constexpr int kFormat = 100, kPlace = 60, kOtherInputs = 30, kKey = 10, kInputKey = 6, kDevice = 20,
              kScale = 4, kWidth = 5;

std::string plain(const Value& value) {
  return value.text() != nullptr ? *value.text() : to_json(value, -1);
}

std::string assigned(const std::string& key, const Value& value) {
  return absl::StrCat(key, " = ", to_json(value, -1));
}

// The accepted value that is nearest to what was found; of groups one that divides the row, if any
// does.
Value nearest_value(const std::string& key, const Value::List& accepted, const Value& found,
                    int64_t in) {
  const Value* best = nullptr;
  const auto distance = [&](const Value& value) {
    if (value.integer() == nullptr || found.integer() == nullptr) return int64_t{0};
    const bool uneven = key == "group" && in % *value.integer() != 0;
    return std::abs(*value.integer() - *found.integer()) + (uneven ? int64_t{1} << 40 : 0);
  };
  for (const Value& value : accepted) {
    if (best == nullptr || distance(value) < distance(*best)) best = &value;
  }
  return *best;
}

// Keys of the scheme that conditions are not met by. `table`: "weight", for the remedy.
void compare(const SchemeConditions& conditions, const Scheme& scheme, const std::string& table,
             int64_t in, int key_weight, std::vector<Misfit>* out) {
  const auto fits = [](const Value::List& values, const Value& value) {
    return std::find(values.begin(), values.end(), value) != values.end();
  };
  const auto add = [&](const std::string& key, const Value::List& accepted, const Value& found,
                       int weight) {
    const Value best = nearest_value(key, accepted, found, in);
    out->push_back({weight, assigned(key, found), absl::StrCat(key, " ", alternatives(accepted)),
                    absl::StrCat(table, " = { ", assigned(key, best), " }")});
  };
  const auto format = conditions.find("format");
  if (format != conditions.end() && !fits(format->second, Value(scheme.format)))
    return add("format", format->second, Value(scheme.format), kFormat);
  for (const auto& [key, accepted] : conditions) {
    const auto found = scheme.keys.find(key);
    if (key == "format" || found == scheme.keys.end() || fits(accepted, found->second)) continue;
    add(key, accepted, found->second, key_weight);
  }
}

int total(const std::vector<Misfit>& all) {
  int sum = 0;
  for (const Misfit& one : all) sum += one.weight;
  return sum;
}

std::string inputs_text(const std::vector<SchemeConditions>& activations) {
  std::vector<std::string> texts;
  for (const SchemeConditions& one : activations)
    texts.push_back(one.empty() ? "in floats" : describe(one));
  return absl::StrCat("inputs ", absl::StrJoin(texts, ", or "));
}

// Against the accepted activation scheme that is nearest.
std::vector<Misfit> compare_inputs(const AcceptRule& rule, const ServedLinear& linear) {
  std::vector<Misfit> best;
  bool first = true;
  for (const SchemeConditions& one : rule.activations) {
    std::vector<Misfit> here;
    if (one.empty() && linear.activation)
      here.push_back({kOtherInputs, "quantized inputs", inputs_text(rule.activations),
                      "no activation scheme"});
    if (!one.empty() && !linear.activation)
      here.push_back({kOtherInputs, "inputs in floats", inputs_text(rule.activations),
                      absl::StrCat("an activation scheme: ", describe(one))});
    if (!one.empty() && linear.activation) {
      compare(one, *linear.activation, "activation", linear.in, kInputKey, &here);
      for (Misfit& misfit : here) {
        misfit.found = "inputs with " + misfit.found;
        misfit.accepted = inputs_text(rule.activations);
        misfit.weight = std::min(misfit.weight, kOtherInputs);
      }
    }
    if (first || total(here) < total(best)) best = std::move(here);
    first = false;
  }
  return best;
}

// Where no device is named, rules are about the engine's usual ones.
bool runs_on(const AcceptRule& rule, const EngineProfile& profile, const Serving& serving) {
  if (rule.devices.empty() || (!serving.device && profile.family.empty())) return true;
  return std::any_of(rule.devices.begin(), rule.devices.end(), [&](const DeviceRange& range) {
    return serving.device ? range.covers(*serving.device) : range.first.family == profile.family;
  });
}

void compare_width(const char* what, int64_t size, int64_t multiple, std::vector<Misfit>* out) {
  if (size % multiple == 0) return;
  out->push_back({kWidth, absl::StrCat(size, " ", what, " on one device"),
                  absl::StrCat("a multiple of ", multiple, " ", what),
                  "keep = true for these linears, or another format for them, in an override"});
}

}  // namespace

ServedPlace place_of(const EngineProfile& profile, const ServedLinear& linear) {
  if (linear.is_head) return ServedPlace::kHead;
  if (linear.is_embedding) return ServedPlace::kEmbedding;
  return experts_of(profile, linear.name).empty() ? ServedPlace::kLinear : ServedPlace::kExpert;
}

std::vector<Misfit> misfits(const EngineProfile& profile, const AcceptRule& rule,
                            const ServedLinear& linear, const Share& share,
                            const Serving& serving) {
  std::vector<Misfit> all;
  const ServedPlace place = place_of(profile, linear);
  if (std::find(rule.places.begin(), rule.places.end(), place) == rule.places.end()) {
    std::vector<std::string> names;
    for (const ServedPlace one : rule.places) names.push_back(name_of(one));
    all.push_back({kPlace, absl::StrCat("it is of kind ", name_of(place)),
                   absl::StrCat("that of kind ", absl::StrJoin(names, ", ")),
                   place == ServedPlace::kLinear || place == ServedPlace::kExpert
                       ? "another scheme for it, or keep = true in an override"
                       : "no step's match that names it"});
  }
  compare(rule.weight, linear.weight, "weight", linear.in, kKey, &all);
  if (all.empty() && !share.joined.empty())
    compare(rule.joined, linear.weight, "weight", linear.in, kKey, &all);
  const std::vector<Misfit> inputs = compare_inputs(rule, linear);
  all.insert(all.end(), inputs.begin(), inputs.end());
  if (!runs_on(rule, profile, serving)) {
    const std::string names =
        absl::StrJoin(rule.devices, ", ",
                      [](std::string* out, const DeviceRange& range) { out->append(range.text); });
    all.push_back({kDevice,
                   serving.device ? absl::StrCat("device \"", text_of(*serving.device), "\"")
                                  : absl::StrCat("a device of family ", profile.family),
                   "that on " + names, "a device among " + names});
  }
  const auto& types = rule.scale_types;
  if (!types.empty() && std::find(types.begin(), types.end(), linear.scale_type) == types.end())
    all.push_back({kScale, absl::StrCat("scales in ", linear.scale_type),
                   absl::StrCat("scales in ", absl::StrJoin(types, " or ")),
                   absl::StrCat("weight = { scale_dtype = \"", types.front(), "\" }")});
  compare_width("outputs", share.out, rule.out_multiple, &all);
  compare_width("inputs", share.in, rule.in_multiple, &all);
  return all;
}

std::string alternatives(const Value::List& values) {
  std::string text;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) text += i + 1 == values.size() ? " or " : ", ";
    text += plain(values[i]);
  }
  return text;
}

std::string describe(const SchemeConditions& conditions) {
  std::vector<std::string> parts;
  const auto format = conditions.find("format");
  if (format != conditions.end()) parts.push_back(alternatives(format->second));
  for (const auto& [key, values] : conditions) {
    if (key != "format") parts.push_back(absl::StrCat(key, " ", alternatives(values)));
  }
  return absl::StrJoin(parts, ", ");
}

std::string describe(const AcceptRule& rule) {
  std::vector<std::string> parts = {describe(rule.weight), inputs_text(rule.activations)};
  if (!rule.joined.empty()) parts.push_back("joined matrices: " + describe(rule.joined));
  if (!rule.scale_types.empty())
    parts.push_back("scales in " + absl::StrJoin(rule.scale_types, " or "));
  if (rule.out_multiple > 1)
    parts.push_back(absl::StrCat("outputs a multiple of ", rule.out_multiple));
  if (rule.in_multiple > 1)
    parts.push_back(absl::StrCat("inputs a multiple of ", rule.in_multiple));
  std::vector<std::string> places, devices;
  for (const ServedPlace place : rule.places) places.push_back(name_of(place));
  for (const DeviceRange& range : rule.devices) devices.push_back(range.text);
  parts.push_back(absl::StrCat("of ", absl::StrJoin(places, ", ")));
  if (!devices.empty()) parts.push_back("on " + absl::StrJoin(devices, ", "));
  return absl::StrJoin(parts, "; ");
}

}  // namespace swage
