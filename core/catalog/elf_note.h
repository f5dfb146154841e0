#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace swage {

// What a plugin file says about itself without being run.
struct ElfNotes {
  std::string fingerprint;  // "" when absent: the file is no plugin
  std::string manifest;     // TOML text
  std::string build_id;     // hexadecimal, "" when absent
};

// Fills `out` with `size` bytes at `offset` of a file; false when they cannot be read.
using ReadAt = std::function<bool(uint64_t offset, void* out, size_t size)>;

// Reads the notes of a 64-bit little-endian ELF file of `file_size` bytes. InvalidArgument: no ELF
// file. DataLoss: a damaged or truncated one. Nothing in the file is trusted; at most a few
// megabytes are read.
absl::StatusOr<ElfNotes> parse_elf_notes(uint64_t file_size, const ReadAt& read_at);
absl::StatusOr<ElfNotes> read_elf_notes(const std::string& file);

}  // namespace swage
