#include "core/engine/checkpoint_check.h"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/engine/earlier.h"
#include "core/engine/file_digest.h"
#include "core/engine/process.h"
#include "core/load/origins.h"
#include "swage/border.h"
#include "swage/call_site.h"
#include "swage/io/safetensors_header.h"
#include "swage/printable.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxRecordBytes = 256 << 20;
constexpr const char* kTieKey = "tie_word_embeddings";

bool is_finite(const at::Tensor& tensor) {
  return !tensor.defined() || at::isfinite(tensor).all().item<bool>();
}

// Codes say something, and the scale over them makes nothing of it.
bool has_dead_codes(const Result& result) {
  Result living = result;
  bool any = false;
  for (const auto& [name, part] : result.parts()) {
    if (!absl::StrContains(name, "scales") || !part.is_floating_point()) continue;
    const at::Tensor values = part.to(at::kFloat), zero = values == 0;
    if (!zero.any().item<bool>()) continue;
    living.set_part(name, at::where(zero, at::ones_like(values), values).to(part.scalar_type()));
    any = true;
  }
  if (!any) return false;
  return ((decode(living) != 0) & (decode(result) == 0)).any().item<bool>();
}

// Engines join these rows into one matrix: q, k and v, gate and up.
class Joined {
 public:
  explicit Joined(CheckpointVerdict* verdict) : verdict_(verdict) {}

  void look(const Subset& subset) {
    std::map<std::string, std::map<std::string, std::string>> modules;  // parent: scheme, a linear
    for (const Linear* linear : subset.linears)
      modules[linear->name.substr(0, linear->name.rfind('.') + 1)].emplace(scheme_of(*linear),
                                                                           linear->name);
    for (const auto& [parent, schemes] : modules) {
      if (schemes.size() < 2) continue;
      verdict_->warnings.push_back(absl::StrCat(
          absl::StrJoin(schemes, ", ",
                        [](std::string* out, const auto& one) {
                          absl::StrAppend(out, one.second, ": ", one.first);
                        }),
          "; they read one input, and engines that join such matrices refuse unlike schemes"));
    }
    for (const Subset& part : subset.parts) look(part);
  }

 private:
  static std::string scheme_of(const Linear& linear) {
    if (!linear.result()) return "floats";
    const Result& result = *linear.result();
    const auto& input = result.activation();
    return absl::StrCat(result.codec()->describe(),
                        input ? absl::StrCat(" with ", input->codec->describe()) : "");
  }
  CheckpointVerdict* const verdict_;
};

void look_at(const Linear& linear, CheckpointVerdict* verdict) {
  const auto wrong = [&](const char* what) {
    verdict->problems.push_back(absl::StrCat(linear.name, ": ", what));
  };
  if (!is_finite(linear.bias)) wrong("its bias is not finite");
  ++(linear.result() ? verdict->compressed : verdict->kept);
  if (!linear.result()) {
    if (!is_finite(linear.weight)) wrong("its weight is not finite");
    return;
  }
  const Result& result = *linear.result();
  const at::Tensor weight = decode_whole(result);
  if (!is_finite(weight)) return wrong("decodes to values that are not finite");
  if (has_dead_codes(result)) wrong("a scale of 0 lies over codes that are not 0");
  if (!weight.any().item<bool>())
    verdict->warnings.push_back(absl::StrCat(linear.name, ": decodes to nothing but zeros"));
}

void look_at(const std::deque<Parameter>& parameters, CheckpointVerdict* verdict) {
  for (const Parameter& parameter : parameters) {
    if (!is_finite(parameter.value))
      verdict->problems.push_back(absl::StrCat(parameter.name, ": its values are not finite"));
  }
}

// What stops the command, or one more problem.
absl::Status take(const absl::Status& status, CheckpointVerdict* verdict) {
  if (status.ok() || absl::IsCancelled(status) || status.GetPayload(kThrownByPlugin)) return status;
  verdict->problems.emplace_back(status.message());
  return absl::OkStatus();
}

template <class Part>
absl::Status look_at_end(const OpenedModel& model, absl::StatusOr<std::unique_ptr<Part>> loaded,
                         bool compressed, CheckpointVerdict* verdict) {
  if (!loaded.ok()) return take(loaded.status(), verdict);
  return call_plugin(adapter_site(model.adapter_name(), "an end of the model"), [&] {
    look_at((*loaded)->parameters(), verdict);
    const Linear* const linear = compressed ? (*loaded)->linear() : nullptr;
    if (linear != nullptr && linear->result()) look_at(*linear, verdict);
    return absl::OkStatus();
  });
}

absl::Status look_at_parts(const OpenedModel& model, Reporter& reporter,
                           CheckpointVerdict* verdict) {
  const std::vector<BlockId> blocks = model.blocks();
  double passed = 0;
  for (const BlockId& id : blocks) {
    SWAGE_RETURN_IF_ERROR(interrupted());
    reporter.at(text_of(id), passed++ / static_cast<double>(blocks.size()));
    if (id.index == 0) {
      const bool language = id.tower == kLanguage;
      SWAGE_RETURN_IF_ERROR(look_at_end(model, model.load_embedding(id.tower),
                                        language && model.holds_compressed(LinearPlace::kEmbedding),
                                        verdict));
    }
    const auto block = model.load_block(id);
    SWAGE_RETURN_IF_ERROR(take(block.status(), verdict));
    if (!block.ok()) continue;
    for (const Linear& linear : (*block)->linears()) look_at(linear, verdict);
    look_at((*block)->parameters(), verdict);
    for (const Subset& subset : (*block)->subsets()) Joined(verdict).look(subset);
  }
  return look_at_end(model, model.load_head(), model.holds_compressed(LinearPlace::kHead), verdict);
}

// Readers follow config.json, and then serve another head than the file holds.
void look_at_tie(const OpenedModel& model, CheckpointVerdict* verdict) {
  const Value& config = model.checkpoint().config();
  const std::string& language = model.language_key();
  const Value& own = !language.empty() && config.has(language) ? config[language] : config;
  const bool* const says = own[kTieKey].boolean();
  if (says == nullptr || !*says || model.shape().tied_embeddings) return;
  verdict->problems.push_back(absl::StrCat(
      "config.json ties the head to the embedding (", kTieKey, "), but ", model.shape().head,
      " has values of its own; readers that follow config.json serve another model"));
}

// Files of an export of Swage, by its own list.
absl::Status look_at_files(const std::string& checkpoint, CheckpointVerdict* verdict) {
  std::error_code error;
  const fs::path folder = fs::is_directory(checkpoint, error) ? fs::path(checkpoint)
                                                              : fs::path(checkpoint).parent_path();
  const std::string file = (folder / kExportRecord).string();
  if (!fs::is_regular_file(file, error)) return absl::OkStatus();
  const auto text = io::read_file(file, kMaxRecordBytes);
  const auto record = text.ok() ? parse_json(*text, kExportRecord) : text.status();
  if (!record.ok() || (*record)["files"].table() == nullptr) {
    verdict->problems.push_back(absl::StrCat(file, ": is no record of an export"));
    return absl::OkStatus();
  }
  const Value::Table& files = *(*record)["files"].table();
  if (!fs::is_directory(checkpoint, error) &&
      files.count(fs::path(checkpoint).filename().string()) == 0)
    return absl::OkStatus();  // lies beside an export
  for (const auto& [name, entry] : files) {
    SWAGE_RETURN_IF_ERROR(interrupted());
    const fs::path path = folder / name;
    const std::string* const expected = entry["digest"].text();
    if (!fs::is_regular_file(path, error)) {
      verdict->problems.push_back(
          absl::StrCat(printable(path.string()), ": is missing, which swage wrote there"));
      continue;
    }
    const auto digest = file_digest(path.string());
    if (!digest.ok()) return digest.status();
    ++verdict->files;
    const auto size = static_cast<int64_t>(fs::file_size(path, error));
    if (expected == nullptr || *digest != *expected || entry.i64("bytes", -1) != size)
      verdict->problems.push_back(
          absl::StrCat(printable(path.string()), ": holds other bytes than swage wrote"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status check_checkpoint(const OpenedModel& model, Reporter& reporter,
                              CheckpointVerdict* verdict) {
  SWAGE_RETURN_IF_ERROR(look_at_files(model.checkpoint().path(), verdict));
  look_at_tie(model, verdict);
  return look_at_parts(model, reporter, verdict);
}

}  // namespace swage
