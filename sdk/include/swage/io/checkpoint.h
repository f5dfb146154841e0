#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/value.h"
#include "swage/weight_source.h"

namespace swage::io {

// A model on disk: a Hugging Face folder (config.json and *.safetensors, single or with an index)
// or one GGUF file.
class SWAGE_API Checkpoint {
 public:
  virtual ~Checkpoint();
  virtual const Value& config() const = 0;  // config.json (made from the metadata for GGUF)
  virtual const WeightSource& weights() const = 0;
  // Tokenizer and generation files as name and content, to be copied unchanged beside an export:
  // tokenizer.json, tokenizer_config.json, special_tokens_map.json, generation_config.json,
  // chat_template.jinja, …; only those there are.
  virtual absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files() const = 0;
  virtual const std::string& path() const = 0;
  // Digest of headers, sizes and config: what a run records to notice that its input changed.
  virtual std::string identity() const = 0;
};

// Reads headers only. Errors name the file, the tensor and what is wrong with it.
SWAGE_API absl::StatusOr<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path);

}  // namespace swage::io
