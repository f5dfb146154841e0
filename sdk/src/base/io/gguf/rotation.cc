#include <algorithm>
#include <cmath>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "keys.h"
#include "swage/status.h"

namespace swage::io::gguf {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr const char* kFreqs = "rope_freqs.weight";
constexpr const char* kLong = "rope_factors_long.weight";
constexpr const char* kShort = "rope_factors_short.weight";

double theta_of(const Value& config) {
  return rope_table(config).f64("rope_theta", config.f64("rope_theta", 10000.0));
}

int64_t original_context(const Value& config) {
  const char* const key = "original_max_position_embeddings";
  return config.i64(key, rope_table(config).i64(key, config.i64("max_position_embeddings", 0)));
}

struct Llama3 {
  double factor = 8, low = 1, high = 4;
  int64_t context = 8192;
};

// What each frequency is divided by.
std::vector<float> llama3_factors(double theta, int64_t channels, const Llama3& scaling) {
  const auto context = static_cast<double>(scaling.context);
  std::vector<float> factors;
  for (int64_t i = 0; i < channels / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(channels);
    const double wavelength = 2 * kPi * std::pow(theta, exponent);
    double factor = scaling.factor;
    if (wavelength < context / scaling.high) {
      factor = 1;
    } else if (wavelength <= context / scaling.low) {
      const double share = (context / wavelength - scaling.low) / (scaling.high - scaling.low);
      factor = 1 / ((1 - share) / scaling.factor + share);
    }
    factors.push_back(static_cast<float>(factor));
  }
  return factors;
}

absl::StatusOr<std::vector<float>> list_of(const Value& rope, const char* key, int64_t count) {
  const Value::List* list = rope[key].list();
  std::vector<float> values;
  for (const Value& item : list != nullptr ? *list : Value::List()) {
    double number = 0;
    if (item.number(&number)) values.push_back(static_cast<float>(number));
  }
  if (static_cast<int64_t>(values.size()) == count) return values;
  return absl::InvalidArgumentError(
      absl::StrCat("config.json: longrope needs \"", key, "\", a list of ", count, " numbers"));
}

double longrope_attention(const Value& config) {
  const Value& rope = rope_table(config);
  if (rope.has("attention_factor")) return rope.f64("attention_factor", 1.0);
  const auto original = static_cast<double>(original_context(config));
  const double factor = static_cast<double>(config.i64("max_position_embeddings", 0)) / original;
  return factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
}

absl::Status check_yarn(const Value& rope) {
  const double factor = rope.f64("factor", 1.0);
  const double usual = factor <= 1 ? 1.0 : 0.1 * std::log(factor) + 1;
  if (rope.has("attention_factor") && std::abs(rope.f64("attention_factor", usual) - usual) > 1e-6)
    return refuse("yarn with an attention_factor of its own; llama.cpp takes 0.1 ln(factor) + 1");
  if (!rope.flag("truncate", true))
    return refuse("yarn with truncate = false; llama.cpp rounds its range to whole channels");
  const double one = rope.f64("mscale", 0.0), all = rope.f64("mscale_all_dim", 0.0);
  if (one != 0 && all != 0 && one != all)
    return refuse("yarn with mscale unlike mscale_all_dim is not written");
  return absl::OkStatus();
}

absl::Status read_llama3(const Metadata& metadata, double theta, Value::Table* config) {
  SWAGE_ASSIGN_OR_RETURN(const std::vector<float> found, metadata.contents().values(kFreqs));
  Llama3 scaling;
  if (found.empty()) return absl::InvalidArgumentError("\"rope_freqs.weight\" is empty");
  scaling.factor = static_cast<double>(*std::max_element(found.begin(), found.end()));
  const auto channels = static_cast<int64_t>(2 * found.size());
  for (scaling.context = 32; scaling.context <= 1 << 20; scaling.context *= 2) {
    const std::vector<float> made = llama3_factors(theta, channels, scaling);
    if (!std::equal(made.begin(), made.end(), found.begin(),
                    [](float a, float b) { return std::abs(a - b) <= 1e-5f * std::abs(a); })) {
      continue;
    }
    (*config)["rope_scaling"] = Value::Table{{"rope_type", "llama3"},
                                             {"factor", shortest(scaling.factor)},
                                             {"low_freq_factor", scaling.low},
                                             {"high_freq_factor", scaling.high},
                                             {"original_max_position_embeddings", scaling.context}};
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      "the factors in \"rope_freqs.weight\" are not those of Llama 3.1 for any context; use the "
      "safetensors checkpoint");
}

absl::Status read_longrope(const Metadata& metadata, Value::Table* config) {
  Value::Table rope = {{"type", "longrope"}};
  for (const auto& [tensor, key] :
       {std::pair(kLong, "long_factor"), std::pair(kShort, "short_factor")}) {
    SWAGE_ASSIGN_OR_RETURN(const std::vector<float> values, metadata.contents().values(tensor));
    Value::List list;
    for (const float value : values) list.push_back(shortest(static_cast<double>(value)));
    rope[key] = std::move(list);
  }
  (*config)["rope_scaling"] = rope;
  SWAGE_ASSIGN_OR_RETURN((*config)["original_max_position_embeddings"],
                         metadata.count("rope.scaling.original_context_length"));
  const double usual = longrope_attention(Value(*config));
  const double stated = metadata.number("rope.scaling.attn_factor", 1.0);
  if (std::abs(stated - usual) > 1e-5)
    (*(*config)["rope_scaling"].table())["attention_factor"] = stated;
  return absl::OkStatus();
}

}  // namespace

const Value& rope_table(const Value& config) {
  const Value& rope = config[config.has("rope_parameters") ? "rope_parameters" : "rope_scaling"];
  return rope.has("full_attention") ? rope["full_attention"] : rope;
}

std::string rope_type(const Value& config) {
  const Value& rope = rope_table(config);
  const std::string type = rope.str("rope_type", rope.str("type", "default"));
  return type == "su" ? "longrope" : type;
}

absl::StatusOr<int64_t> rotary_channels(const Architecture& architecture, const Value& config,
                                        const Sizes& sizes) {
  if (!architecture.partial_rotation) return sizes.head_dim;
  const char* const key = "partial_rotary_factor";
  const double share = rope_table(config).f64(key, config.f64(key, 1.0));
  const auto channels = static_cast<int64_t>(static_cast<double>(sizes.head_dim) * share);
  if (!(share > 0) || share > 1 || channels < 2)
    return absl::InvalidArgumentError(absl::StrCat("config.json: ", key, " is ", share));
  return channels;
}

absl::Status write_rotation(const Architecture& architecture, const Value& config,
                            const Sizes& sizes, KeyWriter* keys) {
  if (!architecture.rotates) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const int64_t channels, rotary_channels(architecture, config, sizes));
  keys->count("rope.dimension_count", channels);
  keys->number("rope.freq_base", theta_of(config));
  const std::string type = rope_type(config);
  // Up to max_position_embeddings dynamic is the plain rotation; the context ends there.
  if (type == "default" || type == "dynamic") return absl::OkStatus();
  if (!absl::StrContains(architecture.rotary, type)) {
    return refuse(absl::StrCat("the rope scaling \"", type,
                               "\" is unknown to llama.cpp's graph of \"", architecture.name,
                               "\""));
  }
  const Value& rope = rope_table(config);
  if (type == "llama3") return absl::OkStatus();
  if (type == "longrope") {
    keys->count("rope.scaling.original_context_length", original_context(config));
    keys->number("rope.scaling.attn_factor", longrope_attention(config));
    return absl::OkStatus();
  }
  keys->text("rope.scaling.type", type);
  keys->number("rope.scaling.factor", rope.f64("factor", 1.0));
  if (type == "linear") return absl::OkStatus();
  SWAGE_RETURN_IF_ERROR(check_yarn(rope));
  keys->count("rope.scaling.original_context_length", original_context(config));
  for (const char* key : {"beta_fast", "beta_slow"}) {
    if (rope.has(key)) keys->number(absl::StrCat("rope.scaling.yarn_", key), rope.f64(key, 0));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<GgufPlan>> rotation_tensors(const Architecture& architecture,
                                                       const Value& config, const Sizes& sizes) {
  std::vector<GgufPlan> plans;
  if (!architecture.rotates) return plans;
  SWAGE_ASSIGN_OR_RETURN(const int64_t channels, rotary_channels(architecture, config, sizes));
  const auto add = [&](const char* name, std::vector<float> values) {
    GgufPlan plan;
    plan.name = name;
    plan.shape = {channels / 2};
    plan.plain = true;
    plan.values = std::move(values);
    plans.push_back(std::move(plan));
  };
  const Value& rope = rope_table(config);
  const std::string type = rope_type(config);
  if (!absl::StrContains(architecture.rotary, type)) return plans;
  if (type == "llama3") {
    const Llama3 scaling{rope.f64("factor", 8), rope.f64("low_freq_factor", 1),
                         rope.f64("high_freq_factor", 4), original_context(config)};
    if (!(scaling.high > scaling.low) || !(scaling.low > 0) || !(scaling.factor >= 1))
      return absl::InvalidArgumentError("config.json: the factors of rope scaling llama3");
    add(kFreqs, llama3_factors(theta_of(config), channels, scaling));
  }
  if (type == "longrope") {
    SWAGE_ASSIGN_OR_RETURN(auto far, list_of(rope, "long_factor", channels / 2));
    SWAGE_ASSIGN_OR_RETURN(auto near, list_of(rope, "short_factor", channels / 2));
    add(kLong, std::move(far));
    add(kShort, std::move(near));
  }
  return plans;
}

bool is_rotation_tensor(const std::string& name) {
  return name == kFreqs || name == kLong || name == kShort;
}

absl::Status read_rotation(const Architecture& architecture, const Metadata& metadata,
                           int64_t head_dim, Value::Table* config) {
  if (!architecture.rotates) return absl::OkStatus();
  const double theta = metadata.number("rope.freq_base", 10000.0);
  (*config)["rope_theta"] = theta;
  (*config)["rope_scaling"] = Value();
  const int64_t channels = metadata.count("rope.dimension_count", head_dim);
  if (architecture.partial_rotation) {
    const auto whole = static_cast<double>(head_dim);
    double share = static_cast<double>(channels) / whole;
    if (static_cast<int64_t>(whole * share) != channels) share = std::nextafter(share, 2.0);
    (*config)["partial_rotary_factor"] = share;
  } else if (channels != head_dim) {
    return absl::UnimplementedError(
        absl::StrCat(channels, " of ", head_dim, " channels of a head rotate, expected all"));
  }
  const TensorShapes& tensors = metadata.contents().tensors;
  if (tensors.count(kFreqs) > 0) return read_llama3(metadata, theta, config);
  if (tensors.count(kLong) > 0) return read_longrope(metadata, config);
  const std::string type = metadata.text("rope.scaling.type", "none");
  if (type == "none") return absl::OkStatus();
  if (type != "linear" && type != "yarn") {
    return absl::UnimplementedError(
        absl::StrCat("rope scaling \"", type, "\" is not read, expected linear or yarn"));
  }
  Value::Table rope = {{"rope_type", type},
                       {"factor", metadata.number("rope.scaling.factor", 1.0)}};
  const int64_t original = metadata.count("rope.scaling.original_context_length", 0);
  if (original > 0) rope["original_max_position_embeddings"] = original;
  for (const char* key : {"beta_fast", "beta_slow"}) {
    const std::string name = absl::StrCat("rope.scaling.yarn_", key);
    if (metadata.has(name)) rope[key] = metadata.number(name, 0.0);
  }
  (*config)["rope_scaling"] = std::move(rope);
  return absl::OkStatus();
}

}  // namespace swage::io::gguf
