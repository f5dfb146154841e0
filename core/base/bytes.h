#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace swage {

// Sizes as people read them, decimal units: 999 -> "999 B", 1234567890 -> "1.23 GB" (three
// significant digits).
std::string bytes_to_text(int64_t bytes);

// "24GB", "1.5 GiB", "4096", "512 kB": KB/MB/GB/TB are powers of 1000, KiB/MiB/GiB/TiB of 1024,
// letters of any case.
absl::StatusOr<int64_t> bytes_from_text(std::string_view text);

}  // namespace swage
