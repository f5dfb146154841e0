#pragma once
#include <cstdint>

// Which of a table's vectors is nearest to a point, for tiles of points. A tile is transposed, so
// that points are vector lanes: coordinate i of point p stands at x[i * kTilePoints + p]. Sums run
// over the coordinates in order and products are never fused: the vectorised versions (float) and
// the plain ones give the same bits on every instruction set.
namespace swage::quant {

constexpr int64_t kTilePoints = 64;
constexpr int64_t kMostCoordinates = 8;

// Entries of k coordinates, [count, k].
template <class T>
struct VectorTable {
  const T* entries = nullptr;
  int64_t count = 0, k = 0;
};

// Absolute patterns of half-integers ½, 3/2, 5/2 (digits 0, 1, 2), eight to a vector, of which the
// signed vectors with an even sum of coordinates are meant, shifted by ±¼ as a whole.
struct SignedPatterns {
  const uint8_t (*digits)[kMostCoordinates] = nullptr;
  const uint8_t* odd = nullptr;  // is the sum of the pattern odd?
  const float* half_norm = nullptr;
  int64_t count = 0;
};

namespace plain {

// The first of the nearest entries of each point: least Σ (x - entry)²; `cost` may be null.
template <class T>
void nearest_entries(const VectorTable<T>& table, const T* x, int32_t* index, T* cost);
// 2 · pattern + shift (0: the vector lies at +¼, 1: at -¼) of the nearest vector.
template <class T>
void nearest_patterns(const SignedPatterns& patterns, const T* x, int32_t* index);

}  // namespace plain

template <class T>
void nearest_entries(const VectorTable<T>& table, const T* x, int32_t* index, T* cost) {
  plain::nearest_entries(table, x, index, cost);
}
template <class T>
void nearest_patterns(const SignedPatterns& patterns, const T* x, int32_t* index) {
  plain::nearest_patterns(patterns, x, index);
}
template <>
void nearest_entries(const VectorTable<float>& table, const float* x, int32_t* index, float* cost);
template <>
void nearest_patterns(const SignedPatterns& patterns, const float* x, int32_t* index);

}  // namespace swage::quant
