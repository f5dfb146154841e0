#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace swage::text {

// What a file of text or token ids holds.
struct Source {
  std::vector<std::string> documents;           // .jsonl: one a line; other text: one
  std::vector<std::vector<int64_t>> sequences;  // .json
  bool is_ids = false;
};

// Errors name the file and, where there is one, the line: unreadable, empty, bad UTF-8, bad JSON.
absl::StatusOr<Source> read_source(const std::string& path);

// All documents as one text.
std::string joined(const Source& source);

}  // namespace swage::text
