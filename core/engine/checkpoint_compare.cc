// A checkpoint against the model that it was made of.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/engine/checkpoint_check.h"
#include "core/engine/export_check.h"
#include "core/engine/process.h"
#include "swage/io/safetensors_header.h"
#include "swage/one_piece.h"
#include "swage/result.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxConfigBytes = 16 << 20;
constexpr double kNoLikeness = 0.9;  // of the weights' size

// What tools write into config.json for themselves.
constexpr const char* kOfTools[] = {"transformers_version", "_name_or_path", "use_cache"};

Value without_tools(const Value& config) {
  Value::Table kept;
  if (config.table() == nullptr) return config;
  for (const auto& [key, value] : *config.table()) {
    if (std::count(std::begin(kOfTools), std::end(kOfTools), key) == 0)
      kept[key] = value.table() != nullptr ? without_tools(value) : value;
  }
  return Value(std::move(kept));
}

double norm_of(const at::Tensor& x) {
  return in_one_piece([&] { return x.to(at::kDouble).norm().item<double>(); });
}

absl::StatusOr<Value> config_file(const io::Checkpoint& checkpoint) {
  const fs::path path = fs::path(checkpoint.path()) / "config.json";
  SWAGE_ASSIGN_OR_RETURN(const std::string text, io::read_file(path.string(), kMaxConfigBytes));
  return parse_json(text, "config.json");
}

// Null: none. Where reading makes a config of a file's metadata, which have no place for all of it,
// the one beside the weights counts.
Value config_of(const OpenedModel& model) {
  std::error_code error;
  if (!fs::is_directory(model.checkpoint().path(), error)) return Value();
  return config_file(model.checkpoint()).value_or(Value());
}

// Are its tensors decoded while they are read, as those of GGUF and of fp8 with scales are? Then
// nothing but their values says what was kept.
bool is_decoded_by_reading(const io::Checkpoint& checkpoint) {
  std::error_code error;
  if (!fs::is_directory(checkpoint.path(), error)) return true;
  const auto config = config_file(checkpoint);
  return config.ok() && config->has("quantization_config") &&
         !checkpoint.config().has("quantization_config");
}

class Comparison {
 public:
  Comparison(const OpenedModel& model, const OpenedModel& original, CheckpointVerdict* verdict)
      : model_(model),
        original_(original),
        own_(model.checkpoint().weights()),
        other_(original.checkpoint().weights()),
        decoded_by_reading_(is_decoded_by_reading(model.checkpoint())),
        verdict_(*verdict) {}

  void linear(const Linear& own, const Linear& other) {
    if (!own.result() && !other.result()) return;  // tensors are compared
    seen_.insert(own.name + ".weight");
    const auto values = [](const Linear& linear) {
      return linear.result() ? decode_whole(*linear.result()) : linear.weight;
    };
    compare(own.name, values(own), values(other));
  }

  absl::Status tensor(const std::string& name) {
    if (seen_.count(name) > 0) return absl::OkStatus();
    if (!own_.has(name)) {
      const bool tied = name == original_.shape().head && model_.shape().tied_embeddings;
      if (!tied) verdict_.problems.push_back(absl::StrCat(name, ": is missing"));
      return absl::OkStatus();
    }
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor own, own_.read(name));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor from, other_.read(name));
    if (digest(own) == digest(from)) {
      ++verdict_.against.equal;
    } else if (own.sizes() == from.sizes() && own.is_floating_point() &&
               digest(from.to(own.scalar_type())) == digest(own)) {
      ++verdict_.against.rounded;
    } else if (decoded_by_reading_ && own.dim() == 2) {
      compare(name, own, from);
    } else {
      verdict_.problems.push_back(absl::StrCat(name, ": holds other values"));
    }
    return absl::OkStatus();
  }

  void finish() {
    CheckpointVerdict::Against& sums = verdict_.against;
    if (sums.linears > 0) sums.mean_error = total_ / static_cast<double>(sums.linears);
    if (sums.rounded > 0)
      verdict_.warnings.push_back(
          absl::StrCat(sums.rounded, " tensors are the original's rounded to another dtype"));
    for (const std::string& name : own_.names()) {
      const std::string module = name.substr(0, name.rfind('.'));
      const bool of_linear = model_.held().count(module) > 0 || original_.held().count(module) > 0;
      const bool head = name == model_.shape().head;  // of a model that was tied
      if (!of_linear && !head && !other_.has(name))
        verdict_.problems.push_back(absl::StrCat(name, ": is no tensor of the original"));
    }
  }

 private:
  void compare(const std::string& name, const at::Tensor& own, const at::Tensor& from) {
    if (own.sizes() != from.sizes()) {
      verdict_.problems.push_back(absl::StrCat(name, ": has another shape"));
      return;
    }
    const double size = norm_of(from);
    const double apart = norm_of(own.to(at::kDouble) - from.to(at::kDouble));
    const double error = apart == 0 ? 0 : apart / std::max(size, 1e-30);
    CheckpointVerdict::Against& sums = verdict_.against;
    total_ += error;
    ++sums.linears;
    if (error >= sums.worst_error) {
      sums.worst_error = error;
      sums.worst = name;
    }
    if (error > kNoLikeness)
      verdict_.warnings.push_back(absl::StrFormat(
          "%s: decodes to values %.3g times as far from the original's as these are large; a "
          "transform of the model would explain it, or a wrong layout",
          name, error));
  }

  const OpenedModel& model_;
  const OpenedModel& original_;
  const WeightSource& own_;
  const WeightSource& other_;
  const bool decoded_by_reading_;
  CheckpointVerdict& verdict_;
  std::set<std::string> seen_;
  double total_ = 0;
};

void compare_configs(const OpenedModel& model, const OpenedModel& original,
                     const std::set<std::string>& storage_keys, CheckpointVerdict* verdict) {
  const Value own = config_of(model), other = config_of(original);
  if (own.is_null() || other.is_null()) return;
  const bool unties = !model.shape().tied_embeddings && original.shape().tied_embeddings;
  for (const std::string& difference :
       config_differences(without_tools(other), without_tools(own), storage_keys)) {
    if (unties && absl::StrContains(difference, "tie_word_embeddings: ")) continue;
    verdict->problems.push_back("config.json: " + difference);
  }
}

// Blocks and ends that are compressed.
absl::Status compare_linears(const OpenedModel& model, const OpenedModel& original,
                             Reporter& reporter, Comparison* comparison) {
  const std::vector<BlockId> blocks = model.blocks();
  double passed = 0;
  for (const BlockId& id : blocks) {
    SWAGE_RETURN_IF_ERROR(interrupted());
    reporter.at(absl::StrCat("against: ", text_of(id)),
                passed++ / static_cast<double>(blocks.size()));
    const auto own = model.load_block(id);
    if (!own.ok()) continue;  // said before
    SWAGE_ASSIGN_OR_RETURN(const auto other, original.load_block(id));
    std::map<std::string, const Linear*> others;
    for (const Linear& linear : other->linears()) others[linear.name] = &linear;
    for (const Linear& linear : (*own)->linears()) {
      const auto found = others.find(linear.name);
      if (found != others.end()) comparison->linear(linear, *found->second);
    }
  }
  const auto end = [&](const auto& own, const auto& other) {
    if (own.ok() && other.ok() && (*own)->linear() != nullptr && (*other)->linear() != nullptr)
      comparison->linear(*(*own)->linear(), *(*other)->linear());
  };
  if (model.holds_compressed(LinearPlace::kEmbedding))
    end(model.load_embedding(kLanguage), original.load_embedding(kLanguage));
  if (model.holds_compressed(LinearPlace::kHead)) end(model.load_head(), original.load_head());
  return absl::OkStatus();
}

}  // namespace

absl::Status check_against(const OpenedModel& model, const OpenedModel& original,
                           const std::set<std::string>& storage_keys, Reporter& reporter,
                           CheckpointVerdict* verdict) {
  if (model.blocks() != original.blocks()) {
    verdict->problems.push_back(absl::StrCat("it has ", model.blocks().size(), " blocks, ",
                                             original.checkpoint().path(), " has ",
                                             original.blocks().size()));
    return absl::OkStatus();
  }
  Comparison comparison(model, original, verdict);
  SWAGE_RETURN_IF_ERROR(compare_linears(model, original, reporter, &comparison));
  for (const std::string& name : original.checkpoint().weights().names())
    if (original.held().count(name.substr(0, name.rfind('.'))) == 0)
      SWAGE_RETURN_IF_ERROR(comparison.tensor(name));
  comparison.finish();
  compare_configs(model, original, storage_keys, verdict);
  return absl::OkStatus();
}

}  // namespace swage
