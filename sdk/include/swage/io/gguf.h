#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/io/checkpoint.h"

namespace swage::io {

// A GGUF v3 file of the architecture "llama" as a checkpoint: tensors under their Hugging Face
// names, in the rows' original order, decoded when they are read and rounded once to the file's
// storage type (see GgufFile::storage); config.json and the tokenizer's files are made from the
// metadata. Types: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL, MXFP4.
SWAGE_API absl::StatusOr<std::unique_ptr<Checkpoint>> open_gguf(const std::string& path);

}  // namespace swage::io
