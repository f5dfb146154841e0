#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/io/gguf_architecture.h"
#include "swage/io/safetensors_header.h"
#include "swage/value.h"

// What a GGUF v3 file (llama.cpp) says about its model. Needs no LibTorch: `swage check` uses it
// too.
namespace swage::io {

// Number of values in a block of a GGUF type, and its bytes. values = 0: a type that is not read
// here.
struct SWAGE_API GgufBlock {
  int64_t values = 0, bytes = 0;
};
SWAGE_API GgufBlock gguf_block(uint32_t type);
SWAGE_API std::string gguf_type_name(uint32_t type);  // "Q4_1", or the number

// Of plain numbers, and the one whose factor lies in another tensor.
constexpr uint32_t kGgufF32 = 0, kGgufF16 = 1, kGgufBF16 = 30, kGgufNvfp4 = 40;

struct SWAGE_API GgufTensor {
  std::string name;            // in the file
  std::vector<int64_t> shape;  // as in a Hugging Face checkpoint: the innermost dimension last
  uint32_t type = 0;
  size_t file = 0;             // of GgufFile::paths
  int64_t begin = 0, end = 0;  // bytes in that file
};

// A tensor of the checkpoint that a file is read as.
struct SWAGE_API GgufOffer {
  std::string name;
  GgufPlan plan;  // of "X.weight", from tensors of the file
  std::vector<int64_t> shape;
  StoredType type = StoredType::kF32;
  uint32_t blocks = 0;  // > 0: rows of such blocks, in bytes
};

struct SWAGE_API GgufFile {
  std::vector<std::string> paths;  // more than one: a split file
  Value metadata;
  std::map<std::string, GgufTensor, std::less<>> tensors;  // by their own names
  Value config;                                            // config.json as the metadata tells it
  std::vector<GgufPlan> plans;  // of the tensors of a Hugging Face checkpoint
  // What weights are handed out in as floats: files that hold plain F32 or F16 matrices keep that
  // type. All others were made from bfloat16 or go below it, and their values (fp32 by the format's
  // definition) are rounded to bfloat16 once.
  StoredType storage = StoredType::kBF16;
  std::string digest;  // of headers and sizes
};

// How matrices in blocks are handed out.
//   kFloats  as "X.weight", decoded
//   kBlocks  as bytes of their rows, "X.gguf_q4_k", in the order of a Hugging Face checkpoint's
//            rows; all numbers beside them in their own type. The factor of NVFP4 is
//            "X.gguf_scale". What is no row by row copy of one type is decoded to "X.weight" in
//            fp32
enum class GgufView { kFloats, kBlocks };
SWAGE_API absl::StatusOr<std::vector<GgufOffer>> gguf_offers(const GgufFile& file, GgufView view);
// "gguf_q4_k", the part under which blocks of this type are handed out; and its type, 0 for others.
SWAGE_API std::string gguf_part(uint32_t type);
SWAGE_API uint32_t gguf_type_of_part(const std::string& part);
// config.json of the checkpoint in that view: with a quantization_config of quant_method "gguf"
// where it holds blocks. What Swage's exporter says of its results ("swage.results", JSON) is the
// key "results" there.
SWAGE_API absl::StatusOr<Value> gguf_config(const GgufFile& file, GgufView view);

// The files of a model in GGUF: one, or all parts of a split one of which `path` is the folder or
// any part. Empty: `path` is a folder of something else. NotFound: a part is missing.
// InvalidArgument: a folder of several models.
SWAGE_API absl::StatusOr<std::vector<std::string>> gguf_files(const std::string& path);

// Reads and checks everything but the weights' bytes. Errors name file, key or tensor: counts and
// lengths beyond the file, repeated keys or names, offsets that leave gaps or overlap, types that
// are not read, tensors with no counterpart.
SWAGE_API absl::StatusOr<GgufFile> read_gguf(const std::string& path);

// The same as a checkpoint header in floats: Hugging Face names, the type handed out, shapes.
SWAGE_API absl::StatusOr<Header> read_gguf_header(const std::string& path);

}  // namespace swage::io
