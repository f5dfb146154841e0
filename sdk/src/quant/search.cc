// Rounding under trial scales, and the errors that rank them.
#include "swage/quant/search.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <atomic>
#include <vector>

#include "quant/inner_product.h"
#include "quant/level_finder.h"
#include "quant/view.h"
#include "swage/product.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

// Fills `row` with the levels of x; false when a value or a scale is not finite.
template <class T>
bool choose_row(const T* x, int64_t columns, const ScalarCodec& codec, const LevelStorage& storage,
                int64_t width, T* low, T* high, T* scales, T* zeros) {
  if (!row_ranges<T>(x, columns, width, low, high)) return false;
  const int64_t groups = (columns + width - 1) / width;
  for (int64_t g = 0; g < groups; ++g) {
    const Level<T> level = codec.level_of(low[g], high[g], storage);
    if (!std::isfinite(level.scale)) return false;
    scales[g] = level.scale;
    zeros[g] = level.zero;
  }
  return true;
}

// False when fit() would refuse the scaled weight.
template <class T>
bool round_rows(const at::Tensor& weight, const at::Tensor& scale, const ScalarCodec& codec,
                const LevelStorage& storage, at::Tensor& out) {
  const int64_t columns = weight.size(1), width = codec.group_width(columns);
  const int64_t groups = codec.group_count(columns);
  const c10::ScalarType decoded = LevelAccess(codec).decoded_type(storage.scales);
  const T* w = weight.template const_data_ptr<T>();
  const T* s = scale.template const_data_ptr<T>();
  T* y = out.template mutable_data_ptr<T>();
  std::atomic<bool> good{true};
  at::parallel_for(0, weight.size(0), rows_per_task(columns), [&](int64_t begin, int64_t end) {
    std::vector<T> scaled(columns), low(groups), high(groups), scales(groups), zeros(groups);
    std::vector<uint8_t> codes(columns);
    RowGrid<T> grid;
    grid.table = &codec.table();
    grid.scales = scales.data();
    grid.zeros = codec.symmetric() ? nullptr : zeros.data();
    grid.width = width;
    grid.storage = decoded;
    for (int64_t r = begin; r < end; ++r) {
      const T* x = w + r * columns;
      T* result = y + r * columns;
      for (int64_t c = 0; c < columns; ++c) scaled[c] = x[c] * s[c];
      if (!choose_row(scaled.data(), columns, codec, storage, width, low.data(), high.data(),
                      scales.data(), zeros.data())) {
        good = false;
        return;
      }
      encode_row<T>(scaled.data(), columns, grid, codes.data());
      decode_row<T>(codes.data(), columns, grid, result);
      for (int64_t c = 0; c < columns; ++c) result[c] /= s[c];
    }
  });
  return good;
}

template <class T>
double inner_product_as(const at::Tensor& a, const at::Tensor& b) {
  constexpr int64_t kPiece = 4096;
  const T* x = a.template const_data_ptr<T>();
  const T* y = b.template const_data_ptr<T>();
  std::vector<double> sums((a.numel() + kPiece - 1) / kPiece);
  at::parallel_for(0, sums.size(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t first = piece * kPiece;
      sums[piece] = inner_product(x + first, y + first, std::min(kPiece, a.numel() - first));
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

absl::StatusOr<at::Tensor> round_trip_scaled(const at::Tensor& weight, const at::Tensor& scale,
                                             const Codec& codec, at::ScalarType scale_dtype) {
  const at::ScalarType type = arithmetic_type(weight.scalar_type());
  const at::Tensor w = weight.to(type).contiguous(), s = scale.to(type).contiguous();
  SWAGE_CHECK(s.dim() == 1 && s.size(0) == w.size(1));
  const auto* scalar = dynamic_cast<const ScalarCodec*>(&codec);
  const bool by_rows = scalar != nullptr && codec.takes_limits() &&
                       scalar->layout().outer_groups == 0 && w.is_cpu() &&
                       w.size(1) % codec.column_multiple() == 0;
  if (by_rows) {
    at::Tensor out = at::empty_like(w);
    const LevelStorage storage{scalar->scale_type(scale_dtype), 1};
    const bool good = type == at::kDouble ? round_rows<double>(w, s, *scalar, storage, out)
                                          : round_rows<float>(w, s, *scalar, storage, out);
    if (good) return out;
  }
  // Levels that rows share; or a refusal, which fit() words.
  const at::Tensor scaled = w * s;
  FitRequest request;
  request.scale_dtype = scale_dtype;
  request.range = "minmax";
  SWAGE_ASSIGN_OR_RETURN(Parts levels, codec.fit(scaled, request));
  if (scalar != nullptr) {
    SWAGE_ASSIGN_OR_RETURN(const ScalarGrid grid, codec.grid(levels, w.size(0), w.size(1)));
    return round_trip(scaled, grid) / s;
  }
  return codec.decode(codec.encode(scaled, std::move(levels)), w.size(0), w.size(1)).to(type) / s;
}

double inner_product(const at::Tensor& a, const at::Tensor& b) {
  SWAGE_CHECK(a.sizes() == b.sizes());
  const bool wide = a.scalar_type() == at::kDouble || b.scalar_type() == at::kDouble;
  const at::ScalarType type = wide ? at::kDouble : at::kFloat;
  const at::Tensor x = a.to(type).contiguous(), y = b.to(type).contiguous();
  return wide ? inner_product_as<double>(x, y) : inner_product_as<float>(x, y);
}

double output_error(const at::Tensor& difference, const at::Tensor& hessian) {
  return inner_product(product(difference, hessian.to(difference.scalar_type())), difference);
}

}  // namespace swage::quant
