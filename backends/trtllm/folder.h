#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/io/checkpoint.h"
#include "swage/store/hf_exporter.h"

namespace swage::trtllm {

// config.json and rank{i}.safetensors in the context's folder, and `config`, that of the source, as
// source_config.json. `config` has TensorRT-LLM's "quantization" as quantization_config.
absl::Status write_folder(const ExportContext& context, const Value& config,
                          const store::HfExporter::SideFiles& files, int64_t ranks);

// The folder as a checkpoint of the source: config() is what was given to write_folder().
// InvalidArgument: a file that is missing, a config.json that is not what was written of the
// source's, files of ranks that do not fit each other.
absl::StatusOr<std::unique_ptr<io::Checkpoint>> open_folder(const std::string& path);

}  // namespace swage::trtllm
