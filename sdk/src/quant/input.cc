// What the input of a linear becomes when a scalar format quantizes it: a token is a row, its
// groups are groups of columns, the tensor is one group.
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>

#include <limits>

#include "quant/view.h"
#include "swage/quant/scalar_codec.h"

namespace swage::quant {
namespace {

// With zero in the range a token of equal values is no special case, as in the readers.
template <class T>
Level<T> level_of(const ScalarCodec& codec, const T* x, int64_t count, double outer) {
  T low, high;
  if (row_ranges<T>(x, count, count, &low, &high))
    return codec.level_of(std::min(low, T(0)), std::max(high, T(0)), {at::kFloat, outer});
  return {std::numeric_limits<T>::quiet_NaN(), T(0), T(0)};
}

template <class T>
class InputRounder {
 public:
  InputRounder(const ScalarCodec& codec, const at::Tensor& x, const Parts& fixed)
      : codec_(codec), source_(x.to(c10::CppTypeToScalarType<T>::value).contiguous()) {
    columns_ = source_.size(-1);
    whole_ = codec.layout().rows == 0;
    width_ = codec.layout().columns > 0 ? codec.layout().columns : columns_;
    const T* from = source_.template const_data_ptr<T>();
    if (const at::Tensor& outer = part(fixed, "outer_scales"); outer.defined())
      outer_ = outer.item<double>();
    else if (codec.layout().outer_groups < 0 && source_.numel() > 0)
      outer_ = codec.outer_of(source_.min().template item<double>(),
                              source_.max().template item<double>());
    if (const at::Tensor& scale = part(fixed, "scales"); scale.defined()) {
      shared_.scale = scale.item<float>();
      if (const at::Tensor& zero = part(fixed, "zeros"); zero.defined())
        shared_.zero = zero.item<float>();
    } else if (whole_ && source_.numel() > 0) {
      shared_ = level_of<T>(codec, from, source_.numel(), outer_);
    }
  }

  at::Tensor run() const {
    const int64_t rows = source_.numel() / std::max<int64_t>(columns_, 1);
    at::Tensor out = at::empty_like(source_);
    const T* from = source_.template const_data_ptr<T>();
    T* to = out.template mutable_data_ptr<T>();
    at::parallel_for(0, rows, rows_per_task(columns_), [&](int64_t begin, int64_t end) {
      std::vector<uint8_t> codes(width_);
      for (int64_t first = begin * columns_; first < end * columns_; first += columns_) {
        for (int64_t c = 0; c < columns_; c += width_)
          round_group(from + first + c, std::min(width_, columns_ - c), codes.data(),
                      to + first + c);
      }
    });
    return out;
  }

 private:
  void round_group(const T* x, int64_t count, uint8_t* codes, T* y) const {
    const Level<T> level = whole_ ? shared_ : level_of<T>(codec_, x, count, outer_);
    RowGrid<T> grid;
    grid.table = &codec_.table();
    grid.scales = &level.scale;
    if (codec_.layout().zeros) grid.zeros = &level.zero;
    grid.width = count;
    encode_row<T>(x, count, grid, codes);
    decode_row<T>(codes, count, grid, y);
  }

  const ScalarCodec& codec_;
  const at::Tensor source_;
  int64_t columns_ = 0, width_ = 1;
  bool whole_ = false;
  double outer_ = 1;
  Level<T> shared_;
};

}  // namespace

at::Tensor ScalarCodec::do_quantize_input(const at::Tensor& x, const Parts& fixed) const {
  const at::Tensor host = x.cpu();
  const at::Tensor rounded = x.scalar_type() == at::kDouble
                                 ? InputRounder<double>(*this, host, fixed).run()
                                 : InputRounder<float>(*this, host, fixed).run();
  return rounded.to(x.options());
}

bool ScalarCodec::do_shares_tokens() const {
  const bool dynamic = Value(scheme().keys).flag("dynamic", true);
  return dynamic && (layout_.rows == 0 || layout_.outer_groups < 0);
}

Parts ScalarCodec::do_input_levels(float low, float high) const {
  if (Value(scheme().keys).flag("dynamic", true)) return {};
  Parts parts;
  if (layout_.outer_groups < 0) {
    parts.emplace("outer_scales", at::full({1, 1}, static_cast<float>(outer_of(low, high))));
    return parts;
  }
  const Level<float> level = this->level(low, high, {});
  parts.emplace("scales", at::full({1, 1}, level.scale));
  if (layout_.zeros) parts.emplace("zeros", at::full({1, 1}, level.zero));
  return parts;
}

double ScalarCodec::outer_of(double low, double high) const {
  return outer_scales(at::full({1, 1}, low), at::full({1, 1}, high), at::kFloat).item<double>();
}

}  // namespace swage::quant
