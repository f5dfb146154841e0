#pragma once
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace swage::text {

// The numbers of CPython's `random.Random(seed)` (MT19937): the published calibration recipes are
// drawn with them.
class PythonRandom {
 public:
  explicit PythonRandom(int64_t seed);
  uint64_t below(uint64_t bound);  // bound >= 1
  int64_t randint(int64_t low, int64_t high) {
    return low + below(high - low + 1);
  }  // both ends included
  template <class T>
  void shuffle(std::vector<T>* items) {
    for (size_t i = items->size(); i > 1; --i) std::swap((*items)[i - 1], (*items)[below(i)]);
  }

 private:
  static constexpr int kWords = 624;
  uint32_t next();
  void refill();
  std::array<uint32_t, kWords> state_;
  int used_ = kWords;
};

}  // namespace swage::text
