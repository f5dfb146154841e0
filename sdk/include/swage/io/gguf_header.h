#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
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

struct SWAGE_API GgufTensor {
  std::string name;            // in the file; where it is kept here the name is Hugging Face's
  std::vector<int64_t> shape;  // as in a Hugging Face checkpoint: the innermost dimension last
  uint32_t type = 0;
  int64_t begin = 0, end = 0;  // bytes in the file
  int64_t heads = 0;           // > 0: rows of rotary Q or K in llama.cpp's order, for so many heads
};

struct SWAGE_API GgufFile {
  Value metadata;
  std::map<std::string, GgufTensor, std::less<>> tensors;  // by Hugging Face name
  Value config;                                            // config.json as the metadata tells it
  // What its weights are handed out in: files that hold plain F32 or F16 matrices keep that type.
  // All others were made from bfloat16 or go below it, and their values (fp32 by the format's
  // definition) are rounded to bfloat16 once.
  StoredType storage = StoredType::kBF16;
  std::string digest;  // of the header and the file's size
};

// Reads and checks everything but the weights' bytes. The architecture must be "llama". Errors name
// file, key or tensor: counts and lengths beyond the file, repeated keys or names, offsets that
// leave gaps or overlap, types that are not read, tensors with no counterpart.
SWAGE_API absl::StatusOr<GgufFile> read_gguf(const std::string& path);

// The same as a checkpoint header: Hugging Face names, the type handed out, shapes.
SWAGE_API absl::StatusOr<Header> read_gguf_header(const std::string& path);

}  // namespace swage::io
