#pragma once
#include <cstdint>
#include <vector>

// Weighted k-means (Lloyd 1982) from seeds drawn as in k-means++ (Arthur and Vassilvitskii 2007).
// Draws are a function of the seed alone and sums have a fixed order: the same bytes for every
// number of threads.
namespace swage::quant {

// Points of k coordinates; coordinate i of point p counts `importance[p % period * k + i]`, or 1
// where there is no importance.
template <class T>
struct WeightedPoints {
  const T* values = nullptr;  // [count, k]
  int64_t count = 0, k = 1;
  const T* importance = nullptr;  // >= 0, not all zero
  int64_t period = 1;
};

// Entries [entries, k]: each the weighted mean of the points that are nearest to it, which is how
// codes are chosen, whatever coordinates count. Points of fewer kinds than there are
// entries are met exactly; entries that are left repeat the last one. Of very many points those of
// an even sample are looked at.
template <class T>
std::vector<T> k_means(const WeightedPoints<T>& points, int64_t entries, uint64_t seed);

// The same for numbers (k = 1), ascending; the best of a few starts.
template <class T>
std::vector<T> k_means_of_numbers(const WeightedPoints<T>& points, int64_t entries, uint64_t seed);

// A number in [0, 1) by counter.
double drawn(uint64_t seed, uint64_t counter);

}  // namespace swage::quant
