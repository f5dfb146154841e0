#pragma once
#include <string>

#include "absl/status/statusor.h"
#include "swage/io/gguf_header.h"

namespace swage::io {

// Hugging Face name of a tensor of the architecture "llama".
absl::StatusOr<std::string> hugging_face_name(const std::string& name, int64_t blocks);
// config.json of the architecture "llama"; needs metadata, tensors and storage. Throws
// std::invalid_argument for a key of another type.
absl::StatusOr<Value> make_config(const GgufFile& file);

}  // namespace swage::io
