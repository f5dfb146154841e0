// What config.json says about rotary embeddings, in the spellings of transformers 4 and 5.
#include <numeric>

#include "swage/nn/rope.h"
#include "swage/status.h"
#include "swage/suggest.h"

namespace swage::nn {
namespace {

constexpr int64_t kMaxChannels = 1 << 16;  // of a head: more would only fill the memory

const std::map<std::string, RopeKind, std::less<>>& kinds() {
  static const std::map<std::string, RopeKind, std::less<>> names = {
      {"default", RopeKind::kDefault}, {"linear", RopeKind::kLinear},
      {"dynamic", RopeKind::kDynamic}, {"llama3", RopeKind::kLlama3},
      {"yarn", RopeKind::kYarn},       {"longrope", RopeKind::kLongRope},
      {"su", RopeKind::kLongRope},    // the first name of longrope, in old Phi-3 files
      {"mrope", RopeKind::kDefault},  // with mrope_section
  };
  return names;
}

absl::StatusOr<RopeKind> read_kind(const Value& rope) {
  const std::string type = rope.str("rope_type", rope.str("type", "default"));
  const auto it = kinds().find(type);
  if (it != kinds().end()) return it->second;
  std::vector<std::string> names;
  for (const auto& [name, kind] : kinds()) names.push_back(name);
  return absl::InvalidArgumentError(
      absl::StrCat("rope_type \"", type, "\" is not supported", suggestion(type, names)));
}

absl::StatusOr<std::vector<double>> read_factors(const Value& rope, std::string_view key,
                                                 int64_t count) {
  const Value::List* list = rope[key].list();
  if (list == nullptr || static_cast<int64_t>(list->size()) != count) {
    return absl::InvalidArgumentError(
        absl::StrCat("longrope needs \"", std::string(key), "\", a list of ", count,
                     " numbers (half of the rotary channels)",
                     list != nullptr ? absl::StrCat("; found ", list->size()) : ""));
  }
  std::vector<double> factors;
  for (const Value& item : *list) {
    double number = 0;
    if (!item.number(&number) || !(number > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", std::string(key), "\" holds a value that is no positive number"));
    }
    factors.push_back(number);
  }
  return factors;
}

absl::Status read_sections(const Value& rope, std::vector<int64_t>* sections) {
  if (!rope.has("mrope_section")) return absl::OkStatus();
  const Value::List* const list = rope["mrope_section"].list();
  for (const Value& item : list != nullptr ? *list : Value::List()) {
    if (item.integer() != nullptr) sections->push_back(*item.integer());
  }
  if (list != nullptr && sections->size() == list->size() && !sections->empty())
    return absl::OkStatus();
  return absl::InvalidArgumentError("mrope_section must be a list of integers");
}

// Channels of a head that rotate.
absl::StatusOr<int64_t> rotary_dim(const Value& config, const Value& table, RopeKind kind,
                                   int64_t head_dim, double default_share) {
  const char* const key = "partial_rotary_factor";
  const double known = default_share > 0 ? default_share : 1.0;
  const double share = table.f64(key, config.f64(key, known));
  if (default_share == 0) {
    // Default frequencies are always those of the whole head, scaled ones would be fewer.
    if (share == 1.0 || kind == RopeKind::kDefault) return head_dim;
    return absl::InvalidArgumentError(
        absl::StrCat(key, " is ", share, ", but in this family all of a head rotates"));
  }
  if (!(share > 0 && share <= 1))
    return absl::InvalidArgumentError(absl::StrCat(key, " is ", share, ", expected 0 to 1"));
  return static_cast<int64_t>(static_cast<double>(head_dim) * share);
}

// What transformers has no default for.
absl::Status check_keys(const Value& table, RopeKind kind) {
  std::vector<const char*> needed;
  if (kind == RopeKind::kLinear || kind == RopeKind::kDynamic) needed = {"factor"};
  if (kind == RopeKind::kLlama3) needed = {"factor", "low_freq_factor", "high_freq_factor"};
  for (const char* key : needed) {
    if (table.has(key)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("rope_scaling lacks \"", key, "\", which this rope_type needs"));
  }
  return absl::OkStatus();
}

absl::Status check(const RopeDescription& rope) {
  const int64_t sum = std::accumulate(rope.sections.begin(), rope.sections.end(), int64_t{0});
  if (!rope.sections.empty() && sum != rope.dim / 2) {
    return absl::InvalidArgumentError(absl::StrCat("mrope_section adds up to ", sum,
                                                   ", expected half of the rotary channels, ",
                                                   rope.dim / 2));
  }
  if (rope.dim > kMaxChannels) {
    return absl::InvalidArgumentError(absl::StrCat("rotary embedding over ", rope.dim,
                                                   " channels, expected at most ", kMaxChannels));
  }
  if (rope.dim <= 0 || rope.dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("rotary embedding over ", rope.dim,
                     " channels: head_dim · partial_rotary_factor must be even and positive"));
  }
  if (!(rope.theta > 0) || !(rope.factor > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rope_theta ", rope.theta, " and factor ", rope.factor, " must be positive"));
  }
  if (rope.kind == RopeKind::kDynamic && rope.dim <= 2) {
    return absl::InvalidArgumentError("dynamic rope needs more than 2 rotary channels");
  }
  if (rope.kind == RopeKind::kLlama3 &&
      !(rope.high_freq_factor > rope.low_freq_factor && rope.low_freq_factor > 0)) {
    return absl::InvalidArgumentError("llama3 rope needs 0 < low_freq_factor < high_freq_factor");
  }
  if (!(rope.beta_fast > 0) || !(rope.beta_slow > 0)) {
    return absl::InvalidArgumentError(absl::StrCat("beta_fast ", rope.beta_fast, " and beta_slow ",
                                                   rope.beta_slow, " must be positive"));
  }
  if (rope.kind != RopeKind::kDefault && rope.kind != RopeKind::kLinear &&
      (rope.original_position <= 1 || rope.max_position <= 0)) {
    return absl::InvalidArgumentError(
        "this rope_type needs max_position_embeddings or original_max_position_embeddings above 1");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RopeDescription> read_rope(const Value& config, int64_t head_dim,
                                          int64_t max_position, double default_theta,
                                          double default_share) {
  // Where both are filled in, transformers takes the older spelling.
  const Value::Table* scaling = config["rope_scaling"].table();
  const bool old = scaling != nullptr ? !scaling->empty() : !config.has("rope_parameters");
  const Value& table = config[old ? "rope_scaling" : "rope_parameters"];
  if (!table.is_null() && table.table() == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("rope_parameters (or rope_scaling) is a ",
                                                   table.type_name(), ", expected a table"));
  }
  RopeDescription rope;
  SWAGE_ASSIGN_OR_RETURN(rope.kind, read_kind(table));
  SWAGE_ASSIGN_OR_RETURN(rope.dim, rotary_dim(config, table, rope.kind, head_dim, default_share));
  rope.theta = table.f64("rope_theta", config.f64("rope_theta", default_theta));
  rope.max_position = max_position;
  const int64_t in_table = table.i64("original_max_position_embeddings", rope.max_position);
  rope.original_position = config.i64("original_max_position_embeddings", in_table);
  SWAGE_RETURN_IF_ERROR(check_keys(table, rope.kind));
  const double ratio = static_cast<double>(rope.max_position) /
                       static_cast<double>(std::max<int64_t>(rope.original_position, 1));
  rope.factor = rope.kind == RopeKind::kDefault ? 1.0 : table.f64("factor", ratio);
  rope.low_freq_factor = table.f64("low_freq_factor", rope.low_freq_factor);
  rope.high_freq_factor = table.f64("high_freq_factor", rope.high_freq_factor);
  // 0 counts as absent in transformers.
  if (const double fast = table.f64("beta_fast", 0); fast != 0) rope.beta_fast = fast;
  if (const double slow = table.f64("beta_slow", 0); slow != 0) rope.beta_slow = slow;
  rope.truncate = table.flag("truncate", true);
  rope.mscale = table.f64("mscale", 0.0);
  rope.mscale_all_dim = table.f64("mscale_all_dim", 0.0);
  if (table.has("attention_factor")) rope.attention_factor = table.f64("attention_factor", 1.0);
  SWAGE_RETURN_IF_ERROR(read_sections(table, &rope.sections));
  SWAGE_RETURN_IF_ERROR(check(rope));
  if (rope.kind == RopeKind::kLongRope) {
    SWAGE_ASSIGN_OR_RETURN(rope.short_factor, read_factors(table, "short_factor", rope.dim / 2));
    SWAGE_ASSIGN_OR_RETURN(rope.long_factor, read_factors(table, "long_factor", rope.dim / 2));
  }
  return rope;
}

namespace {

// Without layer_types the family's rule says which blocks are of which kind.
bool has_blocks_of(const Value& config, const std::string& kind) {
  const Value::List* const types = config["layer_types"].list();
  return types == nullptr || std::any_of(types->begin(), types->end(), [&](const Value& type) {
           return type.text() != nullptr && *type.text() == kind;
         });
}

}  // namespace

Value rope_config(const Value& config, const std::string& kind, const std::string& theta_key) {
  // What stands in a table that no block reads is no reason to refuse.
  const bool counts = has_blocks_of(config, kind);
  const Value& own = config["rope_parameters"][kind];
  Value::Table rope = counts && own.table() != nullptr ? *own.table() : Value::Table{};
  const Value::Table* const scaling = config["rope_scaling"].table();
  if (counts && scaling != nullptr && kind == "full_attention")
    for (const auto& [key, value] : *scaling) rope[key] = value;
  if (!theta_key.empty() && config.has(theta_key)) rope.emplace("rope_theta", config[theta_key]);
  Value result = config;
  for (const char* key : {"rope_scaling", "rope_theta"}) result.table()->erase(key);
  (*result.table())["rope_parameters"] = std::move(rope);
  return result;
}

}  // namespace swage::nn
