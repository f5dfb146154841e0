#include "nn/attention_cpu.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/from_blob.h>

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
  int64_t begin, end;  // queries, counted from there
  int64_t kv_head;
};

// Cut by the sequence's length alone, so that its neighbours change nothing.
std::vector<Tile> cut(const std::vector<int64_t>& lengths, int64_t kv_heads, int64_t group) {
  std::vector<Tile> tiles;
  int64_t start = 0;
  for (int64_t length : lengths) {
    const int64_t fitting = kScores / (group * std::max<int64_t>(length, 1));
    const int64_t step = std::min(kQueries, std::max(fitting, kFewestQueries));
    for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
      for (int64_t begin = 0; begin < length; begin += step) {
        tiles.push_back({start, begin, std::min(length, begin + step), kv_head});
      }
    }
    start += length;
  }
  return tiles;
}

template <class T>
class Worker {
 public:
  Worker(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& y, double scale,
         int64_t window)
      : q_(q.const_data_ptr<T>()),
        k_(k.const_data_ptr<T>()),
        v_(v.const_data_ptr<T>()),
        y_(y.mutable_data_ptr<T>()),
        heads_(q.size(1)),
        kv_heads_(k.size(1)),
        group_(heads_ / kv_heads_),
        width_(q.size(2)),
        value_width_(v.size(2)),
        scale_(static_cast<T>(scale)),
        window_(window),
        options_(q.options()) {}

  void run(const Tile& tile) {
    const int64_t queries = tile.end - tile.begin, used = queries * group_;
    const int64_t rows = std::max(used, kFewestRows);
    const int64_t first_key = window_ > 0 ? std::max<int64_t>(0, tile.begin - window_ + 1) : 0;
    const int64_t keys = tile.end - first_key, key_token = tile.start + first_key;
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
      sums_[static_cast<size_t>(row)] = kernels::softmax_row(
          score + row * keys, static_cast<size_t>(from - first_key),
          static_cast<size_t>(query + 1 - first_key), static_cast<size_t>(keys), scale_);
    }
    const at::Tensor outputs =
        product(scores, blob(v_ + (key_token * kv_heads_ + tile.kv_head) * value_width_, keys,
                             value_width_, kv_heads_ * value_width_));
    scatter(tile, queries, outputs.const_data_ptr<T>());
  }

 private:
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
  T scale_;
  int64_t window_;
  at::TensorOptions options_;
  std::vector<T> queries_, sums_;
};

}  // namespace

at::Tensor attention_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const std::vector<int64_t>& lengths, double scale, int64_t window) {
  at::Tensor y = at::empty({q.size(0), q.size(1) * v.size(2)}, q.options());
  const std::vector<Tile> tiles = cut(lengths, k.size(1), q.size(1) / k.size(1));
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "attention", [&] {
    at::parallel_for(0, static_cast<int64_t>(tiles.size()), 1, [&](int64_t begin, int64_t end) {
      Worker<scalar_t> worker(q, k, v, y, scale, window);
      for (int64_t i = begin; i < end; ++i) worker.run(tiles[static_cast<size_t>(i)]);
    });
  });
  return y;
}

}  // namespace swage::nn
