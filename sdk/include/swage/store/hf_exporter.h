#pragma once
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/exporter.h"
#include "swage/params.h"
#include "swage/store/stored_module.h"

namespace swage::store {

// The base of exporters of compressed linears, whatever the files: what all of them refuse, and the
// messages. A format says what it can hold, and how one linear is stored and read.
class SWAGE_API PackedExporter : public Exporter {
 public:
  absl::Status check(const std::vector<LinearSummary>& planned) final;
  absl::Status encode(const Result& linear, TensorSink& sink) final;
  absl::StatusOr<Result> decode(const std::string& linear, const WeightSource& tensors,
                                const Value& config) final;

 protected:
  // `format`: what messages call it, "GPTQ".
  explicit PackedExporter(std::string format) : format_(std::move(format)) {}
  const std::string& format() const { return format_; }

  // May an embedding or a head be stored so? Default: linears of blocks alone.
  virtual bool takes(LinearPlace place) const { return place == LinearPlace::kBlock; }
  // Can this compressed linear be stored, by its codecs and sizes? InvalidArgument: why not, and
  // what would do; the linear and the format are named by the base.
  virtual absl::Status fits(const LinearSummary& linear) const = 0;
  // The same of all linears together, kept ones among them, behind fits() of each; remark() goes
  // here.
  virtual absl::Status fit_together(const std::vector<LinearSummary>& planned) const;

  // Tensors of one linear, which has no sides, mask or transform and was found valid.
  virtual absl::Status write(const Result& linear, TensorSink& sink) const = 0;
  // One linear of a checkpoint; module.plain() where it is not compressed. The base validates it.
  virtual absl::StatusOr<Result> read(const StoredModule& module, const Value& config) const = 0;

 private:
  const std::string format_;
};

// The base of those that write a Hugging Face folder: config.json with a quantization_config,
// safetensors files, side files as they are. A format adds what config.json says of all linears.
// Its manifest has the parameter `shard_size` (MiB).
class SWAGE_API HfExporter : public PackedExporter {
 public:
  using SideFiles = std::vector<std::pair<std::string, std::string>>;  // name and content

  absl::Status finish(ExportContext& context) final;

 protected:
  HfExporter(std::string format, const Params& params);
  // Of a format whose lay_out() knows no `shard_size`.
  explicit HfExporter(std::string format);

  // quantization_config. Asked for only where something is compressed.
  virtual absl::StatusOr<Value> quantization(const ExportContext& context) const = 0;
  // Last changes to config.json, which has its quantization_config, and files of the format's own.
  virtual absl::Status complete(const ExportContext& context, Value::Table* config,
                                SideFiles* files) const;

  // Writes the folder. Default: a Hugging Face checkpoint in shards.
  virtual absl::Status lay_out(const ExportContext& context, const Value& config,
                               const SideFiles& files) const;

 private:
  const int64_t shard_bytes_;
};

// Linears that are compressed, of all.
SWAGE_API std::vector<LinearSummary> compressed_of(const std::vector<LinearSummary>& linears);
// Modules with a matrix that are no linears of the model, such as routers and a head that no step
// names; no embeddings.
SWAGE_API std::vector<std::string> other_matrices(const ExportContext& context);
// These behind the linears that are kept: whatever a reader might take for a compressed linear.
SWAGE_API std::vector<std::string> float_modules(const ExportContext& context);

}  // namespace swage::store
