#include "nn/attention_cpu.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/from_blob.h>

#include <cmath>
#include <cstring>

#include "nn/kernels.h"
#include "swage/product.h"

namespace swage::nn {
namespace {

constexpr int64_t kQueries = 64;  // of one tile
constexpr int64_t kFewestQueries = 8;
constexpr int64_t kScores =
    int64_t{1} << 22;  // elements of a tile's score matrix that long sequences should not exceed
constexpr int64_t kFewestRows =
    32;  // smaller products take paths of the BLAS that depend on the thread count

struct Tile {
  int64_t start;       // first token of the sequence
  int64_t key_start;   // and of its keys
  int64_t keys;        // of the sequence
  int64_t begin, end;  // queries, counted from there
  int64_t kv_head;
};

// Cut by the sequence's length alone, so that its neighbours change nothing.
std::vector<Tile> cut(const std::vector<int64_t>& lengths, const std::vector<int64_t>& key_lengths,
                      int64_t kv_heads, int64_t group) {
  std::vector<Tile> tiles;
  int64_t start = 0, key_start = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int64_t length = lengths[i], keys = key_lengths[i];
    const int64_t fitting = kScores / (group * std::max<int64_t>(keys, 1));
    const int64_t step = std::min(kQueries, std::max(fitting, kFewestQueries));
    for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
      for (int64_t begin = 0; begin < length; begin += step) {
        tiles.push_back({start, key_start, keys, begin, std::min(length, begin + step), kv_head});
      }
    }
    start += length;
    key_start += keys;
  }
  return tiles;
}

template <class T>
class Worker {
 public:
  Worker(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& y,
         const AttentionRule& rule)
      : q_(q.const_data_ptr<T>()),
        k_(k.const_data_ptr<T>()),
        v_(v.const_data_ptr<T>()),
        y_(y.mutable_data_ptr<T>()),
        heads_(q.size(1)),
        kv_heads_(k.size(1)),
        group_(heads_ / kv_heads_),
        width_(q.size(2)),
        value_width_(v.size(2)),
        scale_(static_cast<T>(rule.scale)),
        softcap_(static_cast<T>(rule.softcap)),
        window_(rule.window),
        causal_(rule.causal),
        options_(q.options()) {
    if (!rule.key_bias.defined()) return;
    key_bias_ = rule.key_bias.const_data_ptr<T>();
    bias_stride_ = rule.key_bias.size(1);
  }

  void run(const Tile& tile) {
    const int64_t queries = tile.end - tile.begin, used = queries * group_;
    const int64_t rows = std::max(used, kFewestRows);
    const int64_t first_key = window_ > 0 ? std::max<int64_t>(0, tile.begin - window_ + 1) : 0;
    const int64_t last_key = causal_ ? tile.end : tile.keys;
    const int64_t keys = last_key - first_key, key_token = tile.key_start + first_key;
    resize(rows);
    gather(tile, queries, rows);
    const at::Tensor scores = product(
        blob(queries_.data(), rows, width_, width_),
        blob(k_ + (key_token * kv_heads_ + tile.kv_head) * width_, keys, width_, kv_heads_ * width_)
            .t());
    T* score = scores.mutable_data_ptr<T>();
    for (int64_t row = 0; row < used; ++row) {
      const int64_t query = tile.begin + row % queries;
      const int64_t from = window_ > 0 ? std::max<int64_t>(0, query - window_ + 1) : 0;
      const int64_t to = causal_ ? query + 1 : last_key;
      T* first = score + row * keys;
      if (shaped())
        shape(first, from - first_key, to - first_key, first_key,
              tile.kv_head * group_ + row / queries);
      sums_[static_cast<size_t>(row)] = kernels::softmax_row(
          first, static_cast<size_t>(from - first_key), static_cast<size_t>(to - first_key),
          static_cast<size_t>(keys), shaped() ? T{1} : scale_);
    }
    const at::Tensor outputs =
        product(scores, blob(v_ + (key_token * kv_heads_ + tile.kv_head) * value_width_, keys,
                             value_width_, kv_heads_ * value_width_));
    scatter(tile, queries, outputs.const_data_ptr<T>());
  }

 private:
  bool shaped() const { return softcap_ > 0 || key_bias_ != nullptr; }

  // Scale, cap and bias of scores [begin, end) of a row that starts at `first_key`.
  void shape(T* row, int64_t begin, int64_t end, int64_t first_key, int64_t head) const {
    for (int64_t i = begin; i < end; ++i) row[i] *= scale_;
    if (softcap_ > 0) {
      for (int64_t i = begin; i < end; ++i) row[i] = softcap_ * std::tanh(row[i] / softcap_);
    }
    if (key_bias_ == nullptr) return;
    const T* bias = key_bias_ + head * bias_stride_ + first_key;
    for (int64_t i = begin; i < end; ++i) row[i] += bias[i];
  }

  at::Tensor blob(const T* data, int64_t rows, int64_t columns, int64_t stride) const {
    return at::from_blob(const_cast<T*>(data), {rows, columns}, {stride, 1}, options_);
  }

  void resize(int64_t rows) {
    queries_.resize(static_cast<size_t>(rows * width_));
    sums_.resize(static_cast<size_t>(rows));
  }

  // Row h · queries + t holds query t of the group's head h; rows that only fill up are zero.
  void gather(const Tile& tile, int64_t queries, int64_t rows) {
    for (int64_t row = 0; row < queries * group_; ++row) {
      const int64_t token = tile.start + tile.begin + row % queries,
                    head = tile.kv_head * group_ + row / queries;
      std::memcpy(queries_.data() + row * width_, q_ + (token * heads_ + head) * width_,
                  static_cast<size_t>(width_) * sizeof(T));
    }
    std::fill(queries_.begin() + queries * group_ * width_, queries_.begin() + rows * width_, T{0});
  }

  void scatter(const Tile& tile, int64_t queries, const T* outputs) {
    for (int64_t row = 0; row < queries * group_; ++row) {
      const int64_t token = tile.start + tile.begin + row % queries,
                    head = tile.kv_head * group_ + row / queries;
      const T* from = outputs + row * value_width_;
      T* to = y_ + (token * heads_ + head) * value_width_;
      const T factor = T{1} / sums_[static_cast<size_t>(row)];
      for (int64_t i = 0; i < value_width_; ++i) to[i] = from[i] * factor;
    }
  }

  const T *q_, *k_, *v_;
  T* y_;
  int64_t heads_, kv_heads_, group_, width_, value_width_;
  T scale_, softcap_;
  int64_t window_;
  bool causal_;
  const T* key_bias_ = nullptr;
  int64_t bias_stride_ = 0;
  at::TensorOptions options_;
  std::vector<T> queries_, sums_;
};

}  // namespace

at::Tensor attention_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const std::vector<int64_t>& lengths,
                         const std::vector<int64_t>& key_lengths, const AttentionRule& rule) {
  at::Tensor y = at::empty({q.size(0), q.size(1) * v.size(2)}, q.options());
  const std::vector<Tile> tiles = cut(lengths, key_lengths, k.size(1), q.size(1) / k.size(1));
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "attention", [&] {
    at::parallel_for(0, static_cast<int64_t>(tiles.size()), 1, [&](int64_t begin, int64_t end) {
      Worker<scalar_t> worker(q, k, v, y, rule);
      for (int64_t i = begin; i < end; ++i) worker.run(tiles[static_cast<size_t>(i)]);
    });
  });
  return y;
}

}  // namespace swage::nn
