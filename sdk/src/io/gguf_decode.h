#pragma once
#include <cstdint>

namespace swage::io {

// Values of `count` blocks of a GGUF type, as the format defines them, in fp32.
void decode_gguf(uint32_t type, const uint8_t* blocks, int64_t count, float* out);

}  // namespace swage::io
