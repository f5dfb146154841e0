#pragma once
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "quant/nearest.h"

// What formats share that round k neighbouring columns at once. A matrix [rows, blocks · k] is a
// list of points of k coordinates, row by row.
namespace swage::format {

// InvalidArgument: k does not divide the width; a value is NaN or infinite (its row and column).
absl::Status check_vectors(const std::string& format, const at::Tensor& weight, int64_t k);

// InvalidArgument: levels [n, …] that are not finite in the dtype that they are stored in. `what`
// they are; each of the first dimension is a row's, or, with `shared`, all are for all rows.
absl::Status check_stored(const std::string& what, const at::Tensor& levels, bool shared);

// visit(first, count, x): tiles of at most kTilePoints points, transposed as kernels take them;
// what is left of the last one is zero. The matrix is contiguous and of type T, on the CPU.
template <class T, class Visit>
void for_each_tile(const at::Tensor& matrix, int64_t k, const Visit& visit) {
  constexpr int64_t kTilesPerTask = 16;
  const T* from = matrix.template const_data_ptr<T>();
  const int64_t points = matrix.numel() / k;
  const int64_t tiles = (points + quant::kTilePoints - 1) / quant::kTilePoints;
  at::parallel_for(0, tiles, kTilesPerTask, [&](int64_t begin, int64_t end) {
    T x[quant::kMostCoordinates * quant::kTilePoints];
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t first = tile * quant::kTilePoints;
      const int64_t count = std::min(quant::kTilePoints, points - first);
      std::fill(x, x + k * quant::kTilePoints, T(0));
      for (int64_t p = 0; p < count; ++p) {
        for (int64_t i = 0; i < k; ++i) x[i * quant::kTilePoints + p] = from[(first + p) * k + i];
      }
      visit(first, count, x);
    }
  });
}

// The same in tensor operations, for any device: f makes of some points [n, k] their codes [n].
at::Tensor by_portions(const at::Tensor& points,
                       const std::function<at::Tensor(const at::Tensor&)>& f);
// The first of the nearest entries [count, k] of points [n, k]: int64 [n].
at::Tensor nearest_entries_plain(const at::Tensor& points, const at::Tensor& entries);

}  // namespace swage::format
