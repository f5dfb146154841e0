#include <cstdint>
#include <string_view>

#include "core/catalog/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  swage::parse_manifest({reinterpret_cast<const char*>(bytes), size}, "input")
      .status()
      .IgnoreError();
  return 0;
}
