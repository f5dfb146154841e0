#include "core/engine/export_writer.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/exit_codes.h"
#include "core/engine/files.h"
#include "core/engine/forwarding_source.h"
#include "core/engine/process.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/exact_files.h"
#include "swage/io/safetensors.h"
#include "swage/result.h"
#include "swage/source_check.h"
#include "swage/status.h"
#include "swage/tied_ends.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr size_t kCarriedBytes = size_t{1} << 30;  // of tensors in memory at a time

std::string part_name(const BlockId& id) { return absl::StrFormat("%s-%05d", id.tower, id.index); }

// A checkpoint is files of its own, some at least.
absl::Status check_finished(const std::string& folder) {
  int64_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_symlink() || (!entry.is_regular_file() && !entry.is_directory()))
      return plugin_fault(absl::StrCat("finish() leaves ", entry.path().string(),
                                       ", which is neither a file nor a folder"));
    files += entry.is_regular_file() ? 1 : 0;
  }
  return files > 0 ? absl::OkStatus() : plugin_fault("finish() leaves no file in " + folder);
}

// Laying out takes as long as the disk does: Ctrl-C does not wait for it.
class InterruptibleSource final : public ForwardingSource {
 public:
  using ForwardingSource::ForwardingSource;
  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    SWAGE_RETURN_IF_ERROR(interrupted());
    return ForwardingSource::read(name);
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    SWAGE_RETURN_IF_ERROR(interrupted());
    return ForwardingSource::read_rows(name, begin, end);
  }
};

class Context final : public ExportContext {
 public:
  Context(const OpenedModel& model, const WeightSource& tensors,
          const std::vector<LinearSummary>& linears, std::string directory)
      : model_(model),
        tensors_(tensors),
        linears_(linears),
        directory_(std::move(directory)),
        config_(config_of_export(model, tensors)) {}
  const WeightSource& tensors() const override { return tensors_; }
  const std::string& directory() const override { return directory_; }
  const Value& model_config() const override { return config_; }
  const std::vector<LinearSummary>& linears() const override { return linears_; }
  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files() const override {
    return model_.checkpoint().side_files();
  }

 private:
  const OpenedModel& model_;
  const WeightSource& tensors_;
  const std::vector<LinearSummary>& linears_;
  const std::string directory_;
  const Value config_;
};

// The head's matrix, in floats or in the parts of a result.
bool has_matrix(const WeightSource& tensors, const std::string& head) {
  if (tensors.has(head)) return true;
  const std::string module = head.substr(0, head.rfind('.')) + ".";
  const std::vector<std::string> names = tensors.names();
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return absl::StartsWith(name, module) && name != module + "bias";
  });
}

// The checkpoint holds a head: a step that changed the embedding has untied it, or it was apart all
// the time.
void untie(Value& config, bool was_tied) {
  if (was_tied || config.flag("tie_word_embeddings", false))
    (*config.table())["tie_word_embeddings"] = false;
}

}  // namespace

Value config_of_export(const OpenedModel& model, const WeightSource& tensors) {
  Value config = model.export_config();
  if (config.table() == nullptr || !has_matrix(tensors, model.shape().head)) return config;
  const std::string& language = model.language_key();
  untie(config, model.shape().tied_embeddings);
  if (config.has(language)) untie((*config.table())[language], model.shape().tied_embeddings);
  return config;
}

class ExportWriter::Sink final : public TensorSink {
 public:
  absl::Status put(const std::string& name, const at::Tensor& tensor) override {
    if (!tensor.defined())
      return absl::InternalError(absl::StrCat("tensor \"", name, "\" is put undefined"));
    tensors.emplace_back(name, tensor);
    return absl::OkStatus();
  }
  std::vector<std::pair<std::string, at::Tensor>> tensors;
};

ExportWriter::ExportWriter(const ExportSpec& spec, std::shared_ptr<Exporter> exporter,
                           const std::string& work)
    : spec_(spec),
      exporter_(std::move(exporter)),
      parts_((fs::path(work) / "parts" / spec.name).string()),
      place_(spec.path, work) {
  const absl::Status status = call_plugin(site("query"), [&] {
    ties_ = exporter_->query(kTiedEnds) != nullptr;
    if (exporter_->query(kExactFiles) != nullptr) remember_ = Remember::kBits;
    return absl::OkStatus();
  });
  ties_ = ties_ && status.ok();
}

absl::Status ExportWriter::check(const std::vector<LinearSummary>& planned) {
  planned_ = planned;
  return with_exit_code(
      annotate(call_plugin(site("check"), [&] { return exporter_->check(planned); }),
               spec_.where.text()),
      ExitCode::kPipeline);
}

absl::Status ExportWriter::check_source(const OpenedModel& model) const {
  const SourceCheck* check = nullptr;
  SWAGE_RETURN_IF_ERROR(call_plugin(site("query"), [&] {
    check = static_cast<const SourceCheck*>(exporter_->query(kSourceCheck));
    return absl::OkStatus();
  }));
  if (check == nullptr) return absl::OkStatus();
  ExportSource source;
  source.config = model.export_config();
  for (const auto& [name, info] : model.header()) source.shapes[name] = info.shape;
  SWAGE_ASSIGN_OR_RETURN(source.side_files, model.checkpoint().side_files());
  return with_exit_code(
      annotate(call_plugin(site("check_source"), [&] { return check->check_source(source); }),
               spec_.where.text()),
      ExitCode::kPipeline);
}

CallSite ExportWriter::site(std::string phase) const {
  return site_of(exporter_.get(), std::move(phase));
}

absl::Status ExportWriter::renew(Loader& loader) {
  SWAGE_ASSIGN_OR_RETURN(exporter_, loader.exporter(spec_.use, spec_.params,
                                                    absl::StrCat("export \"", spec_.name, "\"")));
  return check(std::vector<LinearSummary>(planned_));
}

absl::Status ExportWriter::encode(Linear& linear, Sink& sink, std::vector<StoredItem>* items) {
  if (!linear.result()) {
    SWAGE_RETURN_IF_ERROR(
        encode(Parameter{linear.name + ".weight", linear.weight, linear.storage}, sink, items));
  } else {
    const Result& result = *linear.result();
    items->push_back(item_of(result, remember_));
    items->back().name = linear.name;
    SWAGE_RETURN_IF_ERROR(exporter_->encode(own_copy(result), sink));
  }
  if (!linear.bias.defined()) return absl::OkStatus();
  return encode(Parameter{linear.name + ".bias", linear.bias, linear.storage}, sink, items);
}

absl::Status ExportWriter::encode(const Parameter& parameter, Sink& sink,
                                  std::vector<StoredItem>* items) {
  items->push_back(item_of(parameter, remember_));
  const Parameter own = {parameter.name, parameter.value.clone(), parameter.storage};
  return exporter_->encode_parameter(own, sink);
}

absl::StatusOr<std::vector<StoredItem>> ExportWriter::write_part(
    const std::string& part, const std::string& what, const std::vector<Linear*>& linears,
    const std::deque<Parameter>& parameters) {
  Sink sink;
  std::vector<StoredItem> items;
  SWAGE_RETURN_IF_ERROR(call_plugin(site(absl::StrCat("encode ", what)), [&] {
    for (Linear* linear : linears) SWAGE_RETURN_IF_ERROR(encode(*linear, sink, &items));
    for (const Parameter& parameter : parameters)
      SWAGE_RETURN_IF_ERROR(encode(parameter, sink, &items));
    return absl::OkStatus();
  }));
  SWAGE_RETURN_IF_ERROR(make_folder(parts_));
  SWAGE_RETURN_IF_ERROR(io::write_safetensors(part_file(part), sink.tensors));
  return items;
}

absl::StatusOr<std::vector<StoredItem>> ExportWriter::write_block(Block& block) {
  std::vector<Linear*> linears;
  for (Linear& linear : block.linears()) linears.push_back(&linear);
  return write_part(part_name(block.id()), text_of(block.id()), linears, block.parameters());
}

absl::StatusOr<std::vector<StoredItem>> ExportWriter::write_end(
    const std::string& part, Linear* linear, const std::deque<Parameter>& parameters) {
  std::vector<Linear*> linears;
  if (linear != nullptr) linears.push_back(linear);
  return write_part(part, "the " + part, linears, parameters);
}

absl::StatusOr<std::vector<StoredItem>> ExportWriter::write_carried(
    const OpenedModel& model, std::vector<std::string>* files) {
  std::vector<StoredItem> items;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  size_t bytes = 0, parts = 0;
  const auto write = [&]() -> absl::Status {
    if (tensors.empty()) return absl::OkStatus();
    files->push_back(part_file(absl::StrFormat("carried-%05d", parts++)));
    SWAGE_RETURN_IF_ERROR(io::write_safetensors(files->back(), tensors));
    tensors.clear();
    bytes = 0;
    return absl::OkStatus();
  };
  SWAGE_RETURN_IF_ERROR(make_folder(parts_));
  for (const auto& [name, rule] : model.ledger().carried) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, model.checkpoint().weights().read(name));
    items.push_back(item_of(name, tensor, remember_));
    tensors.emplace_back(name, tensor);
    bytes += tensor.nbytes();
    if (bytes >= kCarriedBytes) SWAGE_RETURN_IF_ERROR(write());
  }
  SWAGE_RETURN_IF_ERROR(write());
  return items;
}

std::string ExportWriter::part_file(const std::string& part) const {
  return (fs::path(parts_) / (part + ".safetensors")).string();
}

absl::Status ExportWriter::finish(const OpenedModel& model,
                                  const std::vector<LinearSummary>& linears,
                                  const std::vector<std::string>& parts,
                                  const std::string& folder) {
  SWAGE_ASSIGN_OR_RETURN(const auto stored, io::open_safetensors(parts));
  const InterruptibleSource tensors(*stored);
  Context context(model, tensors, linears, folder);
  return call_plugin(site("finish"), [&]() -> absl::Status {
    SWAGE_RETURN_IF_ERROR(exporter_->finish(context));
    return check_finished(folder);
  });
}

bool ExportWriter::has_parts() const {
  std::error_code ignored;
  return fs::is_directory(parts_, ignored) && !fs::is_empty(parts_, ignored);
}

void ExportWriter::drop_parts() {
  std::error_code ignored;
  fs::remove_all(parts_, ignored);
}

}  // namespace swage
