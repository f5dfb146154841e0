#pragma once
#include <cstdint>
#include <initializer_list>

namespace swage {

// Counter-based random numbers: the value follows from its coordinates alone, so neither order nor
// threads matter. Chained finalizers of splitmix64 (Steele et al. 2014): every bit of a coordinate
// reaches every bit of the value.
inline uint64_t random_value(std::initializer_list<uint64_t> coordinates) {
  uint64_t state = 0;
  for (const uint64_t part : coordinates) {
    state = (state ^ part) + 0x9e3779b97f4a7c15;
    state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
    state = (state ^ (state >> 27)) * 0x94d049bb133111eb;
    state ^= state >> 31;
  }
  return state;
}

}  // namespace swage
