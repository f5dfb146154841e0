#pragma once
#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace swage {

// XXH3-128 (docs/decisions/xxhash.md), hexadecimal. It tells accidents and other content apart, not
// forgeries.

std::string text_digest(const std::string& text);
// Of bytes [begin, end) of a file. Cancelled once `stop` is set, where one is given.
absl::StatusOr<std::string> file_digest(const std::string& path, int64_t begin, int64_t end,
                                        const std::atomic<bool>* stop = nullptr);
// Of a whole file.
absl::StatusOr<std::string> file_digest(const std::string& path);

}  // namespace swage
