#pragma once
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/io/gguf_header.h"

namespace swage::io {

// tokenizer.json, tokenizer_config.json, special_tokens_map.json and generation_config.json made
// from the metadata; empty when the file has no tokenizer.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> make_side_files(
    const GgufFile& file);

}  // namespace swage::io
