#include "python_random.h"

#include <algorithm>

namespace swage::text {

// The seeding by an array of Matsumoto and Nishimura's reference, which takes no std::seed_seq.
PythonRandom::PythonRandom(int64_t seed) {
  const uint64_t size = seed < 0 ? 0 - static_cast<uint64_t>(seed) : static_cast<uint64_t>(seed);
  std::vector<uint32_t> key = {static_cast<uint32_t>(size)};
  if (size >> 32) key.push_back(static_cast<uint32_t>(size >> 32));
  const auto mixed = [&](int i) { return state_[i - 1] ^ state_[i - 1] >> 30; };
  state_[0] = 19650218;
  for (int i = 1; i < kWords; ++i) state_[i] = 1812433253u * mixed(i) + static_cast<uint32_t>(i);
  int i = 1;
  const auto advance = [&] {
    if (++i < kWords) return;
    state_[0] = state_[kWords - 1];
    i = 1;
  };
  size_t j = 0;
  for (int k = 0; k < kWords; ++k) {
    state_[i] = (state_[i] ^ mixed(i) * 1664525u) + key[j] + static_cast<uint32_t>(j);
    advance();
    j = (j + 1) % key.size();
  }
  for (int k = 1; k < kWords; ++k) {
    state_[i] = (state_[i] ^ mixed(i) * 1566083941u) - static_cast<uint32_t>(i);
    advance();
  }
  state_[0] = 0x80000000u;
}

void PythonRandom::refill() {
  for (int i = 0; i < kWords; ++i) {
    const uint32_t y = (state_[i] & 0x80000000u) | (state_[(i + 1) % kWords] & 0x7FFFFFFFu);
    state_[i] = state_[(i + 397) % kWords] ^ y >> 1 ^ (y & 1 ? 0x9908B0DFu : 0);
  }
  used_ = 0;
}

uint32_t PythonRandom::next() {
  if (used_ == kWords) refill();
  uint32_t y = state_[used_++];
  y ^= y >> 11;
  y ^= y << 7 & 0x9D2C5680u;
  y ^= y << 15 & 0xEFC60000u;
  return y ^ y >> 18;
}

uint64_t PythonRandom::below(uint64_t bound) {
  int bits = 0;
  while (bits < 64 && bound >> bits) ++bits;
  uint64_t value = 0;
  do {
    // More than 32 bits come as several words, the lowest first.
    value = 0;
    for (int got = 0; got < bits; got += 32) {
      const int wanted = std::min(32, bits - got);
      value |= static_cast<uint64_t>(next() >> (32 - wanted)) << got;
    }
  } while (value >= bound);
  return value;
}

}  // namespace swage::text
