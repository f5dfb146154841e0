#include <cstdint>
#include <string_view>

#include "image/decode.h"

// A file of any format, with few pixels so that runs are quick.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  swage::image::Limits limits;
  limits.pixels = 1 << 16;
  swage::image::decode({reinterpret_cast<const char*>(bytes), size}, limits).status().IgnoreError();
  return 0;
}
