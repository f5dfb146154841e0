// The search of range limits per row and group.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "quant/inner_product.h"
#include "quant/level_finder.h"
#include "quant/view.h"
#include "swage/product.h"
#include "swage/quant/search.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

constexpr int64_t kRowTile = 2048;  // rows whose errors lie in memory together

template <class T>
class LimitFinder {
 public:
  LimitFinder(const at::Tensor& weight, const at::Tensor& hessian, const ScalarCodec& codec,
              at::ScalarType scale_dtype, const LimitSearch& search)
      : weight_(weight),
        hessian_(hessian),
        codec_(codec),
        storage_{codec.scale_type(scale_dtype), 1},
        decoded_(LevelAccess(codec).decoded_type(storage_.scales)),
        search_(search) {
    const int64_t rows = weight.size(0), groups = codec.group_count(weight.size(1));
    limits_.low = at::empty({rows, groups}, weight.options());
    limits_.high = at::empty_like(limits_.low);
    limits_.error = at::full({rows, groups}, std::numeric_limits<double>::infinity(),
                             weight.options().dtype(at::kDouble));
  }

  Limits find() {
    const int64_t width = codec_.group_width(weight_.size(1));
    for (int64_t first = 0; first < weight_.size(1); first += width) {
      const int64_t count = std::min(width, weight_.size(1) - first);
      const at::Tensor gram = hessian_.narrow(0, first, count).narrow(1, first, count).contiguous();
      for (int64_t row = 0; row < weight_.size(0); row += kRowTile) {
        const int64_t rows = std::min(kRowTile, weight_.size(0) - row);
        search_tile(row, first / width,
                    weight_.narrow(0, row, rows).narrow(1, first, count).contiguous(), gram);
      }
    }
    return limits_;
  }

 private:
  // All candidates for one group of a tile of rows.
  void search_tile(int64_t first_row, int64_t group, const at::Tensor& weight,
                   const at::Tensor& gram) {
    const int64_t rows = weight.size(0), width = weight.size(1);
    const T* w = weight.template const_data_ptr<T>();
    std::vector<T> low(rows), high(rows);
    for (int64_t r = 0; r < rows; ++r) {
      row_ranges<T>(w + r * width, width, width, &low[r], &high[r]);
      T* const ends[] = {at(limits_.low, first_row + r, group),
                         at(limits_.high, first_row + r, group)};
      *ends[0] = low[r];
      *ends[1] = high[r];
    }
    at::Tensor error = at::empty_like(weight);
    for (int64_t k = 0; k < search_.steps; ++k) {
      const T shrink = T(1 - static_cast<double>(k) * search_.step);
      const auto candidate = [&](int64_t r) {
        const T greatest = std::max(std::abs(low[r]), std::abs(high[r]));
        return search_.symmetric ? std::pair<T, T>(-greatest * shrink, greatest * shrink)
                                 : std::pair<T, T>(low[r] * shrink, high[r] * shrink);
      };
      at::parallel_for(0, rows, rows_per_task(width), [&](int64_t begin, int64_t end) {
        T* e = error.template mutable_data_ptr<T>();
        for (int64_t r = begin; r < end; ++r) {
          const auto [least, greatest] = candidate(r);
          round_within(w + r * width, width, low[r], high[r], least, greatest, e + r * width);
        }
      });
      const at::Tensor weighted = product(error, gram);
      keep_better(first_row, group, error, weighted, candidate);
    }
  }

  // The rounding error of one group under limits.
  void round_within(const T* x, int64_t width, T low, T high, T least, T greatest, T* error) const {
    const auto inside = [&](T v) { return std::min(std::max(v, least), greatest); };
    const Level<T> level = codec_.level_of(inside(low), inside(high), storage_);
    RowGrid<T> grid;
    grid.table = &codec_.table();
    grid.scales = &level.scale;
    grid.zeros = codec_.symmetric() ? nullptr : &level.zero;
    grid.width = width;
    grid.storage = decoded_;
    thread_local std::vector<uint8_t> codes;
    codes.resize(width);
    for (int64_t c = 0; c < width; ++c) error[c] = inside(x[c]);
    encode_row<T>(error, width, grid, codes.data());
    decode_row<T>(codes.data(), width, grid, error);
    for (int64_t c = 0; c < width; ++c) error[c] -= x[c];
  }

  template <class Candidate>
  void keep_better(int64_t first_row, int64_t group, const at::Tensor& error,
                   const at::Tensor& weighted, const Candidate& candidate) {
    const int64_t rows = error.size(0), width = error.size(1);
    const at::Tensor sums = weighted.contiguous();
    const T* e = error.template const_data_ptr<T>();
    const T* p = sums.template const_data_ptr<T>();
    at::parallel_for(0, rows, rows_per_task(width), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const double loss = inner_product(e + r * width, p + r * width, width);
        double* least = limits_.error.mutable_data_ptr<double>() +
                        (first_row + r) * limits_.low.size(1) + group;
        if (!(loss < *least)) continue;
        *least = loss;
        std::tie(*at(limits_.low, first_row + r, group), *at(limits_.high, first_row + r, group)) =
            candidate(r);
      }
    });
  }

  static T* at(at::Tensor& tensor, int64_t row, int64_t group) {
    return tensor.template mutable_data_ptr<T>() + row * tensor.size(1) + group;
  }

  const at::Tensor weight_, hessian_;
  const ScalarCodec& codec_;
  const LevelStorage storage_;
  const at::ScalarType decoded_;
  const LimitSearch& search_;
  Limits limits_;
};

}  // namespace

bool is_symmetric(const Codec& codec) {
  const auto* scalar = dynamic_cast<const ScalarCodec*>(&codec);
  return scalar == nullptr || scalar->symmetric();
}

absl::StatusOr<Limits> search_limits(const at::Tensor& weight, const at::Tensor& hessian,
                                     const Codec& codec, at::ScalarType scale_dtype,
                                     const LimitSearch& search) {
  const auto* scalar = dynamic_cast<const ScalarCodec*>(&codec);
  if (scalar == nullptr || !codec.takes_limits() || scalar->layout().outer_groups != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("range limits are searched for formats with levels of their own for every "
                     "group of a row, not for ",
                     codec.describe()));
  }
  // Refuses what cannot be quantized: groups that do not divide, values that are not finite.
  FitRequest request;
  request.scale_dtype = scale_dtype;
  request.range = "minmax";
  SWAGE_RETURN_IF_ERROR(codec.fit(weight, request).status());
  const at::Tensor w = weight.to(arithmetic_type(weight.scalar_type())).contiguous();
  const at::Tensor h = hessian.to(w.scalar_type());
  SWAGE_CHECK(h.dim() == 2 && h.size(0) == w.size(1) && h.size(1) == w.size(1));
  if (w.scalar_type() == at::kDouble)
    return LimitFinder<double>(w, h, *scalar, scale_dtype, search).find();
  return LimitFinder<float>(w, h, *scalar, scale_dtype, search).find();
}

}  // namespace swage::quant
