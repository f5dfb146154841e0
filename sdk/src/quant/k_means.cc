#include "quant/k_means.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

#include "quant/nearest.h"

namespace swage::quant {
namespace {

constexpr int kRounds = 30;
constexpr int64_t kSampled = 256;    // points that are looked at for each entry
constexpr int64_t kTilesOfSum = 64;  // tiles of one partial sum

// Points in tiles as the kernels take them. What is left of the last tile weighs nothing.
template <class T>
class Tiles {
 public:
  Tiles(const WeightedPoints<T>& points, int64_t entries, uint64_t seed)
      : k_(points.k), count_(std::min(points.count, entries * kSampled)) {
    tiles_ = (count_ + kTilePoints - 1) / kTilePoints;
    values_.resize(tiles_ * k_ * kTilePoints);
    weights_.resize(values_.size());
    for (int64_t n = 0; n < count_; ++n) {
      const int64_t p = sampled(points.count, n, seed);
      for (int64_t i = 0; i < k_; ++i) {
        values_[at(n, i)] = points.values[p * k_ + i];
        weights_[at(n, i)] =
            points.importance ? points.importance[p % points.period * k_ + i] : T(1);
      }
    }
  }

  std::vector<T> entries(int64_t entries, uint64_t seed) const {
    bool exact = false;
    std::vector<T> table = seeds(entries, seed, &exact);
    for (int round = 0; round < kRounds && !exact; ++round) {
      if (!improve(table)) break;
    }
    while (static_cast<int64_t>(table.size()) < entries * k_)
      table.push_back(table[table.size() - k_]);
    return table;
  }

 private:
  size_t at(int64_t n, int64_t i) const {
    return (n / kTilePoints * k_ + i) * kTilePoints + n % kTilePoints;
  }

  // One of each of `count_` runs of neighbours.
  int64_t sampled(int64_t all, int64_t n, uint64_t seed) const {
    if (all == count_) return n;
    const double run = static_cast<double>(all) / static_cast<double>(count_);
    const double place = (static_cast<double>(n) + drawn(~seed, n)) * run;
    return std::min(static_cast<int64_t>(place), all - 1);
  }

  std::vector<T> seeds(int64_t entries, uint64_t seed, bool* exact) const {
    std::vector<T> table, mass(tiles_ * kTilePoints);
    for (int64_t n = 0; n < count_; ++n) {
      for (int64_t i = 0; i < k_; ++i) mass[n] += weights_[at(n, i)];
    }
    std::vector<T> cost = mass;
    for (int64_t n = 0; n < entries; ++n) {
      double total = 0;
      for (const T one : cost) total += one;
      *exact = !(total > 0);
      if (*exact) break;
      const int64_t chosen = pick(cost, total * drawn(seed, n));
      for (int64_t i = 0; i < k_; ++i) table.push_back(values_[at(chosen, i)]);
      const VectorTable<T> last{table.data() + n * k_, 1, k_};
      at::parallel_for(0, tiles_, kTilesOfSum, [&](int64_t begin, int64_t end) {
        int32_t index[kTilePoints];
        T found[kTilePoints];
        for (int64_t t = begin; t < end; ++t) {
          nearest_entries<T>(last, tile(values_, t), index, found);
          const int64_t first = t * kTilePoints;
          for (int64_t p = first; p < first + kTilePoints; ++p) {
            const T now = mass[p] * found[p - first];
            cost[p] = n == 0 ? now : std::min(cost[p], now);
          }
        }
      });
    }
    return table;
  }

  static int64_t pick(const std::vector<T>& cost, double target) {
    double sum = 0;
    size_t last = 0;
    for (size_t p = 0; p < cost.size(); ++p) {
      if (!(cost[p] > 0)) continue;
      sum += cost[p];
      last = p;
      if (sum > target) break;
    }
    return static_cast<int64_t>(last);
  }

  const T* tile(const std::vector<T>& of, int64_t t) const {
    return of.data() + t * k_ * kTilePoints;
  }

  // One round; false when no entry moved.
  bool improve(std::vector<T>& table) const {
    const auto size = table.size();
    const int64_t parts = (tiles_ + kTilesOfSum - 1) / kTilesOfSum;
    std::vector<double> sums(parts * size), masses(parts * size);
    const VectorTable<T> entries{table.data(), static_cast<int64_t>(size) / k_, k_};
    at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
      int32_t index[kTilePoints];
      for (int64_t part = begin; part < end; ++part) {
        double *sum = sums.data() + part * size, *mass = masses.data() + part * size;
        for (int64_t t = part * kTilesOfSum; t < std::min((part + 1) * kTilesOfSum, tiles_); ++t) {
          const T *x = tile(values_, t), *w = tile(weights_, t);
          nearest_entries<T>(entries, x, index, nullptr);
          for (int64_t i = 0; i < k_; ++i) {
            for (int64_t p = 0; p < kTilePoints; ++p) {
              const double weight = w[i * kTilePoints + p];
              sum[index[p] * k_ + i] += weight * x[i * kTilePoints + p];
              mass[index[p] * k_ + i] += weight;
            }
          }
        }
      }
    });
    bool moved = false;
    for (size_t e = 0; e < size; ++e) {
      double sum = 0, mass = 0;
      for (int64_t part = 0; part < parts; ++part) {
        sum += sums[part * size + e];
        mass += masses[part * size + e];
      }
      if (!(mass > 0)) continue;
      const T mean = static_cast<T>(sum / mass);
      moved = moved || mean != table[e];
      table[e] = mean;
    }
    return moved;
  }

  const int64_t k_, count_;
  int64_t tiles_ = 0;
  std::vector<T> values_, weights_;
};

}  // namespace

template <class T>
std::vector<T> k_means(const WeightedPoints<T>& points, int64_t entries, uint64_t seed) {
  return Tiles<T>(points, entries, seed).entries(entries, seed);
}

template std::vector<float> k_means(const WeightedPoints<float>&, int64_t, uint64_t);
template std::vector<double> k_means(const WeightedPoints<double>&, int64_t, uint64_t);

}  // namespace swage::quant
