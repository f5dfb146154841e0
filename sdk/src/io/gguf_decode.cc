#include "gguf_decode.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cmath>
#include <cstring>

#include "swage/io/gguf_header.h"
#include "swage/status.h"

namespace swage::io {
namespace {

float half(const uint8_t* bytes) {
  c10::Half value;
  std::memcpy(&value, bytes, 2);
  return static_cast<float>(value);
}

uint32_t word(const uint8_t* bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, 4);
  return value;
}

void decode_f32(const uint8_t* b, float* out) { std::memcpy(out, b, 4); }
void decode_f16(const uint8_t* b, float* out) { *out = half(b); }
void decode_bf16(const uint8_t* b, float* out) {
  const uint32_t bits = static_cast<uint32_t>(b[0]) << 16 | static_cast<uint32_t>(b[1]) << 24;
  std::memcpy(out, &bits, 4);
}

void decode_q4_0(const uint8_t* b, float* out) {
  const float d = half(b);
  for (int j = 0; j < 16; ++j) {
    out[j] = static_cast<float>((b[2 + j] & 15) - 8) * d;
    out[j + 16] = static_cast<float>((b[2 + j] >> 4) - 8) * d;
  }
}

void decode_q4_1(const uint8_t* b, float* out) {
  const float d = half(b), m = half(b + 2);
  for (int j = 0; j < 16; ++j) {
    out[j] = static_cast<float>(b[4 + j] & 15) * d + m;
    out[j + 16] = static_cast<float>(b[4 + j] >> 4) * d + m;
  }
}

// The fifth bits of Q5_0 and Q5_1 lie in one word.
int five_bits(const uint8_t* nibbles, uint32_t high, int e) {
  const int low = e < 16 ? nibbles[e] & 15 : nibbles[e - 16] >> 4;
  return low | static_cast<int>(high >> e & 1) << 4;
}

void decode_q5_0(const uint8_t* b, float* out) {
  const float d = half(b);
  for (int e = 0; e < 32; ++e)
    out[e] = static_cast<float>(five_bits(b + 6, word(b + 2), e) - 16) * d;
}

void decode_q5_1(const uint8_t* b, float* out) {
  const float d = half(b), m = half(b + 2);
  for (int e = 0; e < 32; ++e)
    out[e] = static_cast<float>(five_bits(b + 8, word(b + 4), e)) * d + m;
}

void decode_q8_0(const uint8_t* b, float* out) {
  const float d = half(b);
  for (int j = 0; j < 32; ++j) out[j] = static_cast<float>(static_cast<int8_t>(b[2 + j])) * d;
}

// Scale and minimum j of Q4_K and Q5_K: eight pairs of six bits in twelve bytes.
struct SixBits {
  int scale, minimum;
};
SixBits six_bits(const uint8_t* s, int j) {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | (s[j - 4] >> 6) << 4, (s[j + 4] >> 4) | (s[j] >> 6) << 4};
}

// `high` holds the fifth bits of Q5_K, or is null.
void decode_k(const uint8_t* b, const uint8_t* high, const uint8_t* nibbles, float* out) {
  const float d = half(b), dmin = half(b + 2);
  for (int j = 0; j < 8; ++j) {
    const SixBits part = six_bits(b + 4, j);
    const float scale = d * static_cast<float>(part.scale),
                minimum = dmin * static_cast<float>(part.minimum);
    for (int l = 0; l < 32; ++l) {
      const uint8_t pair = nibbles[32 * (j / 2) + l];
      int q = j % 2 == 0 ? pair & 15 : pair >> 4;
      if (high != nullptr) q |= (high[l] >> j & 1) << 4;
      out[32 * j + l] = scale * static_cast<float>(q) - minimum;
    }
  }
}

void decode_q4_k(const uint8_t* b, float* out) { decode_k(b, nullptr, b + 16, out); }
void decode_q5_k(const uint8_t* b, float* out) { decode_k(b, b + 16, b + 48, out); }

void decode_q6_k(const uint8_t* b, float* out) {
  const uint8_t *low = b, *high = b + 128;
  const float d = half(b + 208);
  for (int e = 0; e < 256; ++e) {
    const int n = e / 128, t = e % 128 / 32, l = e % 32;
    const uint8_t pair = low[64 * n + l + 32 * (t % 2)];
    const int q = (t < 2 ? pair & 15 : pair >> 4) | (high[32 * n + l] >> 2 * t & 3) << 4;
    const auto scale = static_cast<int8_t>(b[192 + 8 * n + 2 * t + l / 16]);
    out[e] = d * static_cast<float>(scale) * static_cast<float>(q - 32);
  }
}

void decode_q2_k(const uint8_t* b, float* out) {
  const uint8_t* pairs = b + 16;
  const float d = half(b + 80), dmin = half(b + 82);
  for (int e = 0; e < 256; ++e) {
    const int q = pairs[32 * (e / 128) + e % 32] >> 2 * (e % 128 / 32) & 3;
    const uint8_t levels = b[e / 16];
    const float scale = d * static_cast<float>(levels & 15),
                minimum = dmin * static_cast<float>(levels >> 4);
    out[e] = scale * static_cast<float>(q) - minimum;
  }
}

// Scale j of Q3_K: sixteen of six bits in twelve bytes.
int q3_scale(const uint8_t* s, int j) {
  const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
  return (low | (s[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
}

void decode_q3_k(const uint8_t* b, float* out) {
  const uint8_t *high = b, *pairs = b + 32;
  const float d = half(b + 108);
  for (int e = 0; e < 256; ++e) {
    const int low = pairs[32 * (e / 128) + e % 32] >> 2 * (e % 128 / 32) & 3;
    const int q = (high[e % 32] >> e / 32 & 1) != 0 ? low : low - 4;
    out[e] = d * static_cast<float>(q3_scale(b + 96, e / 16)) * static_cast<float>(q);
  }
}

void decode_nibbles(const uint8_t* nibbles, const float* values, float scale, float* out) {
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * values[nibbles[j] & 15];
    out[j + 16] = scale * values[nibbles[j] >> 4];
  }
}

void decode_iq4_nl(const uint8_t* b, float* out) {
  static constexpr float kValues[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
  decode_nibbles(b + 2, kValues, half(b), out);
}

// Values are twice those of E2M1, the scale is half of what the exponent says.
void decode_mxfp4(const uint8_t* b, float* out) {
  static constexpr float kValues[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  decode_nibbles(b + 1, kValues, std::ldexp(1.f, int{b[0]} - 128), out);
}

// e4m3 without sign; its two patterns that are no numbers are 0, as llama.cpp has it.
float unsigned_e4m3(uint8_t byte) {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  if (byte == 0x7F || byte == 0xFF) return 0;
  return exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                       : std::ldexp(1 + static_cast<float>(mantissa) / 8, exponent - 7);
}

// Four sub-blocks of 16 columns; the matrix's factor is not part of a block.
void decode_nvfp4(const uint8_t* b, float* out) {
  static constexpr float kValues[] = {0, .5f,  1,  1.5f,  2,  3,  4,  6,
                                      0, -.5f, -1, -1.5f, -2, -3, -4, -6};
  for (int s = 0; s < 4; ++s) {
    const float scale = unsigned_e4m3(b[s]);
    for (int j = 0; j < 8; ++j) {
      const uint8_t pair = b[4 + 8 * s + j];
      out[16 * s + j] = scale * kValues[pair & 15];
      out[16 * s + j + 8] = scale * kValues[pair >> 4];
    }
  }
}

using Decode = void (*)(const uint8_t*, float*);
Decode decoder_of(uint32_t type) {
  switch (type) {
    case 0:
      return decode_f32;
    case 1:
      return decode_f16;
    case 2:
      return decode_q4_0;
    case 3:
      return decode_q4_1;
    case 6:
      return decode_q5_0;
    case 7:
      return decode_q5_1;
    case 8:
      return decode_q8_0;
    case 10:
      return decode_q2_k;
    case 11:
      return decode_q3_k;
    case 12:
      return decode_q4_k;
    case 13:
      return decode_q5_k;
    case 14:
      return decode_q6_k;
    case 20:
      return decode_iq4_nl;
    case 30:
      return decode_bf16;
    case 39:
      return decode_mxfp4;
    case 40:
      return decode_nvfp4;
    default:
      return nullptr;
  }
}

}  // namespace

void decode_gguf(uint32_t type, const uint8_t* blocks, int64_t count, float* out) {
  const Decode decode = decoder_of(type);
  SWAGE_CHECK(decode != nullptr);
  const GgufBlock block = gguf_block(type);
  for (int64_t i = 0; i < count; ++i) decode(blocks + i * block.bytes, out + i * block.values);
}

}  // namespace swage::io
