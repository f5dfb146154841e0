#include <cstdint>
#include <cstring>

#include "core/catalog/elf_note.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const auto read_at = [&](uint64_t offset, void* out, size_t count) {
    if (offset > size || count > size - offset) return false;
    if (count > 0) std::memcpy(out, bytes + offset, count);
    return true;
  };
  swage::parse_elf_notes(size, read_at).status().IgnoreError();
  return 0;
}
