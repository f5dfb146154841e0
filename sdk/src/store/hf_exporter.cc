#include "swage/store/hf_exporter.h"

#include <limits>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage::store {
namespace {

// What a step leaves beside the codes, for which no format of this kind has a place.
const char* beside(const LinearSummary& linear) {
  if (linear.may_transform_input)
    return "linears whose input must be transformed at run time (online_transform)";
  if (linear.may_have_sides) return "linears with side paths or outliers";
  return linear.may_have_mask ? "linears with sparsity masks" : nullptr;
}

const char* beside(const Result& linear) {
  if (!linear.online_transform().empty()) return "a transform of its input at run time";
  if (!linear.sides().empty()) return name_of(linear.sides().front().kind);
  return linear.mask().defined() ? "a sparsity mask" : nullptr;
}

const char* name_of_end(LinearPlace place) {
  return place == LinearPlace::kEmbedding ? "an embedding" : "a head";
}

}  // namespace

HfExporter::HfExporter(std::string format)
    : PackedExporter(std::move(format)), shard_bytes_(std::numeric_limits<int64_t>::max()) {}

HfExporter::HfExporter(std::string format, const Params& params)
    : PackedExporter(std::move(format)), shard_bytes_(params.i64("shard_size") << 20) {}

absl::Status PackedExporter::check(const std::vector<LinearSummary>& planned) {
  const std::vector<LinearSummary> compressed = compressed_of(planned);
  for (const LinearSummary& linear : compressed) {
    const auto refused = [&](absl::string_view why) {
      const std::string input = linear.activation ? " with " + linear.activation->describe() : "";
      return absl::InvalidArgumentError(absl::StrCat(linear.name, ": ", format_, " cannot hold ",
                                                     linear.weight->describe(), input, ": ", why));
    };
    if (!takes(linear.place))
      return refused(absl::StrCat("its readers take ", name_of_end(linear.place),
                                  " in floats alone; let no step name it, or export with use = "
                                  "\"huggingface\""));
    if (const char* const what = beside(linear))
      return refused(absl::StrCat("a step leaves ", what));
    if (const absl::Status status = fits(linear); !status.ok()) return refused(status.message());
  }
  return fit_together(planned);
}

absl::Status PackedExporter::fit_together(const std::vector<LinearSummary>&) const {
  return absl::OkStatus();
}

absl::Status PackedExporter::encode(const Result& linear, TensorSink& sink) {
  if (const char* const what = beside(linear))
    return absl::InvalidArgumentError(absl::StrCat(linear.name(), ": the result has ", what,
                                                   ", which ", format_, " has no place for"));
  SWAGE_RETURN_IF_ERROR(validate(linear));
  return annotate(write(linear, sink), linear.name());
}

absl::Status HfExporter::finish(ExportContext& context) {
  if (context.model_config().table() == nullptr)
    return absl::InvalidArgumentError("config.json of the source is no table");
  Value::Table config = *context.model_config().table();
  config.erase("quantization_config");
  config.erase("compression_config");
  if (!compressed_of(context.linears()).empty()) {
    SWAGE_ASSIGN_OR_RETURN(config["quantization_config"], quantization(context));
  }
  SWAGE_ASSIGN_OR_RETURN(SideFiles files, context.side_files());
  SWAGE_RETURN_IF_ERROR(complete(context, &config, &files));
  return lay_out(context, Value(std::move(config)), files);
}

absl::Status HfExporter::lay_out(const ExportContext& context, const Value& config,
                                 const SideFiles& files) const {
  return io::write_hf_checkpoint(context.directory(), context.tensors(), config, files,
                                 shard_bytes_);
}

absl::Status HfExporter::complete(const ExportContext&, Value::Table*, SideFiles*) const {
  return absl::OkStatus();
}

absl::StatusOr<Result> PackedExporter::decode(const std::string& linear,
                                              const WeightSource& tensors, const Value& config) {
  const StoredModule module(linear, tensors);
  SWAGE_ASSIGN_OR_RETURN(Result result, read(module, config));
  SWAGE_RETURN_IF_ERROR(validate(result));
  return result;
}

std::vector<LinearSummary> compressed_of(const std::vector<LinearSummary>& linears) {
  std::vector<LinearSummary> compressed;
  for (const LinearSummary& linear : linears)
    if (linear.kept_by.empty()) compressed.push_back(linear);
  return compressed;
}

std::vector<std::string> other_matrices(const ExportContext& context) {
  std::set<std::string> known;
  for (const LinearSummary& linear : context.linears()) known.insert(linear.name);
  std::vector<std::string> modules;
  for (const std::string& tensor : context.tensors().names()) {
    absl::string_view module = tensor;
    if (!absl::ConsumeSuffix(&module, ".weight") || absl::StrContains(module, "embed")) continue;
    const auto shape = context.tensors().shape(tensor);
    const bool matrix = shape.ok() && shape->size() == 2;
    if (matrix && known.count(std::string(module)) == 0) modules.emplace_back(module);
  }
  return modules;
}

std::vector<std::string> float_modules(const ExportContext& context) {
  std::vector<std::string> modules;
  for (const LinearSummary& linear : context.linears())
    if (!linear.kept_by.empty()) modules.push_back(linear.name);
  const std::vector<std::string> others = other_matrices(context);
  modules.insert(modules.end(), others.begin(), others.end());
  return modules;
}

}  // namespace swage::store
