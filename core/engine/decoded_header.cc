#include "core/engine/decoded_header.h"

#include <map>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "core/base/exit_codes.h"
#include "core/base/glob.h"
#include "core/engine/decoded_source.h"
#include "core/engine/forwarding_source.h"
#include "core/engine/ledger.h"
#include "core/engine/outcome.h"
#include "core/engine/shape_source.h"
#include "swage/border.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr int64_t kSmallBytes = 256;  // shapes, single scales
constexpr int kMostFailures = 100;    // looked for

// Small tensors as they are, zeros for the others.
class SmallValues final : public ForwardingSource {
 public:
  SmallValues(const WeightSource& source, const io::Header& header, const ShapeSource& shapes)
      : ForwardingSource(shapes), small_(source), header_(header) {}

  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    auto zeros = ForwardingSource::read(name);
    return zeros.ok() && is_small(name) ? small_.read(name) : zeros;
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    auto zeros = ForwardingSource::read_rows(name, begin, end);
    return zeros.ok() && is_small(name) ? small_.read_rows(name, begin, end) : zeros;
  }

 private:
  bool is_small(std::string_view name) const {
    const auto found = header_.find(name);
    return found != header_.end() && found->second.end - found->second.begin <= kSmallBytes;
  }

  const WeightSource& small_;
  const io::Header& header_;
};

class Decoding {
 public:
  Decoding(const io::Checkpoint& checkpoint, Exporter& reader, const io::Header& stored,
           ShapeSource& shapes, DecodedHeader* made)
      : checkpoint_(checkpoint),
        reader_(reader),
        stored_(stored),
        shapes_(shapes),
        values_(checkpoint.weights(), stored, shapes),
        made_(made) {
    shapes_.set_form(ShapeSource::Form::kWhole);
  }

  absl::Status add(const std::string& linear, const std::vector<std::string>& parts) {
    SWAGE_ASSIGN_OR_RETURN(const std::string form, form_of(linear, parts));
    auto known = outcomes_.find(form);
    // A fault is told of every linear that has it.
    const bool told =
        known != outcomes_.end() && (!known->second.is_fault || failures_ >= kMostFailures);
    if (!told) known = outcomes_.insert_or_assign(form, decode(linear)).first;
    const Outcome& outcome = known->second;
    if (outcome.is_fault) {
      made_->reported.insert(linear + ".weight");
      for (const std::string& part : parts)
        if (part != ".bias") made_->header.erase(linear + part);
    }
    for (const std::string& part : outcome.read) made_->header.erase(linear + part);
    if (outcome.weight) {
      made_->header[linear + ".weight"] = *outcome.weight;
      made_->linears[linear] = outcome.summary;
      made_->linears[linear].name = linear;
    }
    return absl::OkStatus();
  }

 private:
  struct Outcome {
    std::set<std::string> read;  // parts
    std::optional<io::TensorInfo> weight;
    LinearSummary summary;
    bool is_fault = false;
  };

  // Equal for linears that are decoded alike.
  absl::StatusOr<std::string> form_of(const std::string& linear,
                                      const std::vector<std::string>& parts) const {
    std::string form = family_of(linear);
    for (const std::string& part : parts) {
      const io::TensorInfo& info = stored_.find(linear + part)->second;
      absl::StrAppend(&form, "|", part, " ", io::name(info.type), " ",
                      absl::StrJoin(info.shape, ","));
      if (info.type != io::StoredType::kI64 || info.end - info.begin > kSmallBytes) continue;
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor values, checkpoint_.weights().read(linear + part));
      absl::StrAppend(&form, " ", digest(values));
    }
    return form;
  }

  Outcome decode(const std::string& linear) {
    shapes_.take_read();
    const auto decoded = decode_linear(reader_, linear, checkpoint_, &values_);
    shapes_.forget_writes();
    Outcome outcome;
    for (const std::string& name : shapes_.take_read())
      if (absl::StartsWith(name, linear + ".")) outcome.read.insert(name.substr(linear.size()));
    if (!decoded.ok()) return fault(linear, decoded.status());
    if (!*decoded) return {};
    const Result& result = **decoded;
    outcome.summary = summary_of(result);
    const auto type = io::to_stored_type(decoded_type(result));
    if (!type.ok()) return fault(linear, type.status());
    outcome.weight = {
        *type, {result.out(), result.in()}, 0, io::byte_size(*type) * result.out() * result.in()};
    return outcome;
  }

  Outcome fault(const std::string& linear, const absl::Status& status) {
    made_->plugin_failed |= exit_code(status) == static_cast<int>(ExitCode::kPlugin);
    ++failures_;
    const std::string text(status.message());
    // What is wrong with the whole checkpoint is told once.
    if (told_.insert(absl::StrReplaceAll(text, {{absl::StrCat("decode ", linear), ""}})).second)
      made_->faults.push_back(text);
    Outcome outcome;
    outcome.is_fault = true;
    return outcome;
  }

  const io::Checkpoint& checkpoint_;
  Exporter& reader_;
  const io::Header& stored_;
  ShapeSource& shapes_;
  const SmallValues values_;
  DecodedHeader* const made_;
  std::map<std::string, Outcome> outcomes_;  // by form
  int failures_ = 0;
  std::set<std::string> told_;  // faults, whatever the linear
};

}  // namespace

absl::StatusOr<DecodedHeader> decoded_header(const io::Checkpoint& checkpoint, Exporter& reader,
                                             const std::vector<std::string>& linears,
                                             const io::Header& stored) {
  std::map<std::string, std::vector<std::string>> parts;  // of modules that may be linears
  for (const auto& [name, info] : stored) {
    const std::string module = name.substr(0, name.rfind('.'));
    if (glob_match_any(linears, module)) parts[module].push_back(name.substr(module.size()));
  }
  SWAGE_ASSIGN_OR_RETURN(const auto shapes, ShapeSource::create(stored));
  DecodedHeader made;
  made.header = stored;
  Decoding decoding(checkpoint, reader, stored, *shapes, &made);
  for (const auto& [linear, names] : parts) SWAGE_RETURN_IF_ERROR(decoding.add(linear, names));
  return made;
}

}  // namespace swage
