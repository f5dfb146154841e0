// Numbers sorted once: clusters are then intervals, whose sums are differences of running sums.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "quant/k_means.h"

namespace swage::quant {
namespace {

constexpr int kRandomStarts = 2, kRounds = 100;
constexpr int64_t kFewEntries = 16;  // of more, the spaced start is as good as any other

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

  std::vector<double> distinct() const {
    std::vector<double> values = value_;
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
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

  // Entries in the middles of equal shares: of the numbers' weights, or of what the density of many
  // entries follows, its cube root (Panter and Dite 1951), which a gap of 1 / density adds with its
  // power 2/3.
  std::vector<double> spaced(int64_t entries, bool cube_root) const {
    std::vector<double> share(value_.size());
    double total = 0;
    for (size_t p = 0; p < value_.size(); ++p) {
      const double before = p > 0 ? value_[p] - value_[p - 1] : 0;
      const double after = p + 1 < value_.size() ? value_[p + 1] - value_[p] : before;
      const double gap = (p > 0 ? before + after : 2 * after) / 2;
      total += cube_root ? std::cbrt(weight_[p] * gap * gap) : weight_[p];
      share[p] = total;
    }
    std::vector<double> chosen;
    for (int64_t n = 0; n < entries && total > 0; ++n) {
      const double target = total * (static_cast<double>(n) + 0.5) / static_cast<double>(entries);
      const auto found = std::upper_bound(share.begin(), share.end(), target);
      const double value = value_[std::min<size_t>(found - share.begin(), share.size() - 1)];
      if (chosen.empty() || value > chosen.back()) chosen.push_back(value);
    }
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
  std::vector<double> best = numbers.distinct();
  const bool exact = static_cast<int64_t>(best.size()) <= entries;
  double least = exact ? 0 : std::numeric_limits<double>::infinity();
  const auto take = [&](std::vector<double> found) {
    if (found.empty() || least == 0) return;
    numbers.improve(found);
    const double cost = numbers.cost(found);
    if (!(cost < least)) return;
    best = std::move(found);
    least = cost;
  };
  take(numbers.spaced(entries, true));
  if (entries <= kFewEntries) {
    take(numbers.spaced(entries, false));
    for (int start = 0; start < kRandomStarts; ++start)
      take(numbers.seeds(entries, seed * kRandomStarts + start));
  }
  best.resize(entries, best.back());
  return std::vector<T>(best.begin(), best.end());
}

template std::vector<float> k_means_of_numbers(const WeightedPoints<float>&, int64_t, uint64_t);
template std::vector<double> k_means_of_numbers(const WeightedPoints<double>&, int64_t, uint64_t);

}  // namespace swage::quant
