// Numbers sorted once: clusters are then intervals, whose sums are differences of running sums.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "quant/k_means.h"

namespace swage::quant {
namespace {

constexpr int kStarts = 3, kRounds = 100;
constexpr int64_t kFewEntries = 16;  // of more, one start is as good as another

uint64_t mixed(uint64_t x) {  // SplitMix64
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

class Numbers {
 public:
  template <class T>
  explicit Numbers(const WeightedPoints<T>& points) {
    std::vector<int64_t> order(points.count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return points.values[a] < points.values[b]; });
    for (const int64_t p : order) {
      value_.push_back(points.values[p]);
      weight_.push_back(points.importance ? points.importance[p % points.period] : 1);
      count_.push_back((count_.empty() ? 0 : count_.back()) + weight_.back());
      sum_.push_back((sum_.empty() ? 0 : sum_.back()) + weight_.back() * value_.back());
    }
  }

  std::vector<double> seeds(int64_t entries, uint64_t seed) const {
    std::vector<double> chosen;
    std::vector<double> cost = weight_;
    for (int64_t n = 0; n < entries; ++n) {
      const double total = std::accumulate(cost.begin(), cost.end(), 0.0);
      if (!(total > 0)) break;
      const size_t place = pick(cost, total * drawn(seed, n));
      chosen.push_back(value_[place]);
      for (size_t p = 0; p < cost.size(); ++p) {
        const double difference = value_[p] - chosen.back();
        const double square = weight_[p] * difference * difference;
        cost[p] = n == 0 ? square : std::min(cost[p], square);
      }
    }
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }

  // Moves the entries to the means of what is nearest to them until nothing changes.
  void improve(std::vector<double>& entries) const {
    std::vector<size_t> ends, before;
    for (int round = 0; round < kRounds; ++round) {
      ends = intervals(entries);
      if (ends == before) return;
      before = ends;
      size_t first = 0;
      for (size_t e = 0; e < entries.size(); ++e) {
        if (ends[e] > first) entries[e] = mean(first, ends[e], entries[e]);
        first = ends[e];
      }
    }
  }

  double cost(const std::vector<double>& entries) const {
    const std::vector<size_t> ends = intervals(entries);
    double total = 0;
    size_t p = 0;
    for (size_t e = 0; e < entries.size(); ++e) {
      for (; p < ends[e]; ++p)
        total += weight_[p] * (value_[p] - entries[e]) * (value_[p] - entries[e]);
    }
    return total;
  }

 private:
  // The first place up to which the costs add up to more than `target`.
  static size_t pick(const std::vector<double>& cost, double target) {
    double sum = 0;
    size_t last = 0;
    for (size_t p = 0; p < cost.size(); ++p) {
      if (!(cost[p] > 0)) continue;
      sum += cost[p];
      last = p;
      if (sum > target) break;
    }
    return last;
  }

  // Where each entry's numbers end.
  std::vector<size_t> intervals(const std::vector<double>& entries) const {
    std::vector<size_t> ends(entries.size(), value_.size());
    for (size_t e = 0; e + 1 < entries.size(); ++e) {
      const double middle = entries[e] + (entries[e + 1] - entries[e]) / 2;
      ends[e] = std::upper_bound(value_.begin(), value_.end(), middle) - value_.begin();
    }
    return ends;
  }

  double mean(size_t first, size_t end, double otherwise) const {
    if (value_[first] == value_[end - 1]) return value_[first];
    const double count = count_[end - 1] - (first > 0 ? count_[first - 1] : 0);
    const double sum = sum_[end - 1] - (first > 0 ? sum_[first - 1] : 0);
    if (!(count > 0)) return otherwise;
    return std::min(std::max(sum / count, value_[first]), value_[end - 1]);
  }

  std::vector<double> value_, weight_, count_, sum_;  // the last two: running sums
};

}  // namespace

double drawn(uint64_t seed, uint64_t counter) {
  constexpr double kPlaces = 9007199254740992.0;  // 2^53
  return static_cast<double>(mixed(mixed(seed) ^ counter) >> 11) / kPlaces;
}

template <class T>
std::vector<T> k_means_of_numbers(const WeightedPoints<T>& points, int64_t entries, uint64_t seed) {
  const Numbers numbers(points);
  std::vector<double> best;
  double least = std::numeric_limits<double>::infinity();
  for (int start = 0; start < (entries > kFewEntries ? 1 : kStarts); ++start) {
    std::vector<double> found = numbers.seeds(entries, seed * kStarts + start);
    numbers.improve(found);
    const double cost = numbers.cost(found);
    if (cost < least) {
      best = std::move(found);
      least = cost;
    }
    if (least == 0) break;
  }
  best.resize(entries, best.back());
  return std::vector<T>(best.begin(), best.end());
}

template std::vector<float> k_means_of_numbers(const WeightedPoints<float>&, int64_t, uint64_t);
template std::vector<double> k_means_of_numbers(const WeightedPoints<double>&, int64_t, uint64_t);

}  // namespace swage::quant
