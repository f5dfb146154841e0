#include "core/engine/export_writer.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/exit_codes.h"
#include "core/engine/files.h"
#include "swage/border.h"
#include "swage/compressed_linear.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr size_t kCarriedBytes = size_t{1} << 30;  // of tensors in memory at a time

std::string part_name(const BlockId& id) { return absl::StrFormat("%s-%05d", id.tower, id.index); }

class Context final : public ExportContext {
 public:
  Context(const OpenedModel& model, const WeightSource& tensors,
          const std::vector<LinearSummary>& linears, std::string directory)
      : model_(model),
        tensors_(tensors),
        linears_(linears),
        directory_(std::move(directory)),
        config_(model.export_config()) {
    if (config_.table() == nullptr || !tensors.has(model.shape().head)) return;
    const std::string& language = model.language_key();
    untie(config_, model.shape().tied_embeddings);
    if (config_.has(language)) untie((*config_.table())[language], model.shape().tied_embeddings);
  }
  const WeightSource& tensors() const override { return tensors_; }
  const std::string& directory() const override { return directory_; }
  const Value& model_config() const override { return config_; }
  const std::vector<LinearSummary>& linears() const override { return linears_; }
  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files() const override {
    return model_.checkpoint().side_files();
  }

 private:
  // The checkpoint holds a head: a step that changed the embedding has untied it, or it was apart
  // all the time.
  static void untie(Value& config, bool was_tied) {
    if (was_tied || config.flag("tie_word_embeddings", false))
      (*config.table())["tie_word_embeddings"] = false;
  }

  const OpenedModel& model_;
  const WeightSource& tensors_;
  const std::vector<LinearSummary>& linears_;
  const std::string directory_;
  Value config_;
};

}  // namespace

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
      parts_((fs::path(work) / "parts" / spec.name).string()) {}

absl::Status ExportWriter::check(const std::vector<LinearSummary>& planned) {
  return with_exit_code(
      annotate(guarded({spec_.name, "check"}, [&] { return exporter_->check(planned); }),
               spec_.where.text()),
      ExitCode::kPipeline);
}

absl::Status ExportWriter::encode(Linear& linear, Sink& sink, std::vector<StoredItem>* items) {
  if (!linear.result()) {
    SWAGE_RETURN_IF_ERROR(
        encode(Parameter{linear.name + ".weight", linear.weight, linear.storage}, sink, items));
  } else {
    const CompressedLinear& result = *linear.result();
    items->push_back(item_of(result));
    items->back().name = linear.name;
    SWAGE_RETURN_IF_ERROR(exporter_->encode(result, sink));
  }
  if (!linear.bias.defined()) return absl::OkStatus();
  return encode(Parameter{linear.name + ".bias", linear.bias, linear.storage}, sink, items);
}

absl::Status ExportWriter::encode(const Parameter& parameter, Sink& sink,
                                  std::vector<StoredItem>* items) {
  items->push_back(item_of(parameter));
  return exporter_->encode_parameter(parameter, sink);
}

absl::StatusOr<std::vector<StoredItem>> ExportWriter::write_block(Block& block) {
  Sink sink;
  std::vector<StoredItem> items;
  SWAGE_RETURN_IF_ERROR(guarded({spec_.name, absl::StrCat("encode ", text_of(block.id()))}, [&] {
    for (Linear& linear : block.linears()) SWAGE_RETURN_IF_ERROR(encode(linear, sink, &items));
    for (const Parameter& parameter : block.parameters())
      SWAGE_RETURN_IF_ERROR(encode(parameter, sink, &items));
    return absl::OkStatus();
  }));
  SWAGE_RETURN_IF_ERROR(make_folder(parts_));
  SWAGE_RETURN_IF_ERROR(io::write_safetensors(part_file(part_name(block.id())), sink.tensors));
  return items;
}

absl::StatusOr<std::vector<StoredItem>> ExportWriter::write_parameters(
    const std::string& part, const std::deque<Parameter>& parameters) {
  Sink sink;
  std::vector<StoredItem> items;
  SWAGE_RETURN_IF_ERROR(guarded({spec_.name, absl::StrCat("encode the ", part)}, [&] {
    for (const Parameter& parameter : parameters)
      SWAGE_RETURN_IF_ERROR(encode(parameter, sink, &items));
    return absl::OkStatus();
  }));
  SWAGE_RETURN_IF_ERROR(make_folder(parts_));
  SWAGE_RETURN_IF_ERROR(io::write_safetensors(part_file(part), sink.tensors));
  return items;
}

absl::StatusOr<std::vector<StoredItem>> ExportWriter::write_carried(const OpenedModel& model) {
  std::vector<StoredItem> items;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  size_t bytes = 0, parts = 0;
  const auto write = [&]() -> absl::Status {
    if (tensors.empty()) return absl::OkStatus();
    const std::string part = absl::StrFormat("carried-%05d", parts++);
    SWAGE_RETURN_IF_ERROR(io::write_safetensors(part_file(part), tensors));
    tensors.clear();
    bytes = 0;
    return absl::OkStatus();
  };
  SWAGE_RETURN_IF_ERROR(make_folder(parts_));
  for (const auto& [name, rule] : model.ledger().carried) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, model.checkpoint().weights().read(name));
    items.push_back(item_of(name, tensor));
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
                                  const std::vector<LinearSummary>& linears) {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parts_, error)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path().string());
  }
  if (error) {
    return absl::DataLossError(
        absl::StrCat(parts_, ": cannot be read (", error.message(), "); start the run again"));
  }
  std::sort(files.begin(), files.end());
  SWAGE_ASSIGN_OR_RETURN(const auto tensors, io::open_safetensors(files));
  const std::string unfinished = spec_.path + ".part";
  SWAGE_RETURN_IF_ERROR(make_empty_folder(unfinished));
  Context context(model, *tensors, linears, unfinished);
  SWAGE_RETURN_IF_ERROR(
      guarded({spec_.name, "finish"}, [&] { return exporter_->finish(context); }));
  return replace_folder(unfinished, spec_.path);
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
