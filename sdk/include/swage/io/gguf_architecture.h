#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/value.h"

// What llama.cpp calls the parts of a model: architectures, tensors and metadata, in both
// directions. Needs no LibTorch: `swage check` uses it too.
namespace swage::io {

// Types of metadata, by their numbers in the file.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kText = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12
};

// One key of the metadata. An array is a list of `items`.
struct SWAGE_API GgufKey {
  std::string name;
  GgufType type = GgufType::kU32;
  Value value;
  GgufType items = GgufType::kU32;
};

using TensorShapes = std::map<std::string, std::vector<int64_t>, std::less<>>;
using SideFiles = std::vector<std::pair<std::string, std::string>>;  // name, content

// Rows `begin` to `begin + count` of the source of that number. A row is what lies along the
// source's last dimension; one with a single dimension has rows of one value. Where vectors become
// rows of a matrix, or rows vectors, the values of rows follow each other.
struct SWAGE_API GgufRows {
  size_t source = 0;
  int64_t begin = 0, count = 0;
};

struct SWAGE_API GgufSource {
  std::string name;
  // > 0: the source is so many matrices, and each is transposed before its rows count.
  int64_t transposed = 0;
};

// How one tensor comes from others, row by row: renamed, stacked, cut, joined, rows in another
// order. Codes, scales and zeros of a quantized matrix move as its rows do, but not through
// `transposed`.
struct SWAGE_API GgufPlan {
  std::string name;
  std::vector<int64_t> shape;  // the innermost dimension last, as in a Hugging Face checkpoint
  std::vector<GgufSource> sources;
  std::vector<GgufRows> rows;  // in the order of this tensor's rows
  int64_t transposed = 0;      // > 0: the rows are so many matrices, each transposed afterwards
  // Added to every value in fp32. Norms of the form 1 + w hold 1 + w in GGUF: fp32 arithmetic is
  // what the model itself does with it.
  double added = 0;
  bool plain = false;         // llama.cpp wants F32: vectors, routers
  std::vector<float> values;  // no sources: made of config.json (factors of a scaled rotation)

  // One run of rows of one source, values as they are: their bytes are this tensor's.
  bool is_copy() const;
};

struct SWAGE_API GgufPlans {
  std::vector<GgufPlan> tensors;  // as llama.cpp's converter orders them
  // Tensors that GGUF has no place for and llama.cpp does not need: buffers that every reader
  // computes, draft layers. Anything else without a place is an error.
  std::vector<std::string> left_out;
};

// The architecture of a model, "qwen2", or why llama.cpp cannot compute it: a family that it does
// not know, a variant (a rope scaling, a window, a bias) that its graph ignores.
SWAGE_API absl::StatusOr<std::string> gguf_architecture(const Value& config);

// From a Hugging Face checkpoint (config.json, names and shapes of its tensors) to GGUF.
SWAGE_API absl::StatusOr<GgufPlans> plan_gguf(const Value& config, const TensorShapes& tensors);
// general.architecture and the keys of the architecture; those of the tokenizer and of the file
// (name, file_type, quantization_version) are not among them.
SWAGE_API absl::StatusOr<std::vector<GgufKey>> gguf_keys(const Value& config,
                                                         const TensorShapes& tensors);
// The keys of the tokenizer, from the files beside the weights (tokenizer.json, tokenizer.model,
// tokenizer_config.json …); none when there is no tokenizer.
SWAGE_API absl::StatusOr<std::vector<GgufKey>> gguf_tokenizer(const Value& config,
                                                              const SideFiles& files);

// What a GGUF file says: metadata, its tensors under their own names with torch's order of
// dimensions, and the values of a small F32 tensor.
struct SWAGE_API GgufContents {
  Value metadata;
  TensorShapes tensors;
  std::function<absl::StatusOr<std::vector<float>>(const std::string& name)> values;
};

// The way back: config.json of the family that computes the same, and how each of its tensors
// comes from those of the file. Errors name key or tensor. Throws std::invalid_argument for a key
// of another type.
SWAGE_API absl::StatusOr<Value> config_of_gguf(const GgufContents& contents);
SWAGE_API absl::StatusOr<std::vector<GgufPlan>> plan_hugging_face(const GgufContents& contents,
                                                                  const Value& config);

}  // namespace swage::io
