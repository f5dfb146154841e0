// Codes of a weight on a grid, and back.
#include <ATen/ops/repeat_interleave.h>

#include "quant/view.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

using Encoder = void (*)(const float*, int64_t, const RowGrid<float>&, uint8_t*);

template <class T, class Encode>
at::Tensor encode_with(const at::Tensor& weight, const Grid& grid, Encode encode_one) {
  const at::Tensor w = weight.to(c10::CppTypeToScalarType<T>::value).contiguous();
  const int64_t columns = w.size(1);
  at::Tensor codes = at::empty(w.sizes(), w.options().dtype(code_type(grid.scheme.format)));
  const GridRows<T> rows(grid, columns);
  const T* x = w.template const_data_ptr<T>();
  auto* q = static_cast<uint8_t*>(codes.mutable_data_ptr());
  at::parallel_for(0, w.size(0), rows_per_task(columns), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      encode_one(x + r * columns, columns, rows.row(r), q + r * columns);
  });
  return codes;
}

template <class T>
at::Tensor decode_as(const at::Tensor& codes, const Grid& grid) {
  const at::Tensor source = codes.contiguous();
  const int64_t columns = source.size(1);
  at::Tensor out =
      at::empty(source.sizes(), source.options().dtype(c10::CppTypeToScalarType<T>::value));
  const GridRows<T> rows(grid, columns);
  const auto* q = static_cast<const uint8_t*>(source.const_data_ptr());
  T* y = out.template mutable_data_ptr<T>();
  at::parallel_for(0, source.size(0), rows_per_task(columns), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      decode_row<T>(q + r * columns, columns, rows.row(r), y + r * columns);
  });
  return out;
}

template <class T>
at::Tensor round_trip_as(const at::Tensor& weight, const Grid& grid) {
  const at::Tensor w = weight.to(c10::CppTypeToScalarType<T>::value).contiguous();
  const int64_t columns = w.size(1);
  at::Tensor out = at::empty_like(w);
  const GridRows<T> rows(grid, columns);
  const T* x = w.template const_data_ptr<T>();
  T* y = out.template mutable_data_ptr<T>();
  at::parallel_for(0, w.size(0), rows_per_task(columns), [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> codes(columns);
    for (int64_t r = begin; r < end; ++r) {
      encode_row<T>(x + r * columns, columns, rows.row(r), codes.data());
      decode_row<T>(codes.data(), columns, rows.row(r), y + r * columns);
    }
  });
  return out;
}

bool is_double(const at::Tensor& tensor) { return tensor.scalar_type() == at::kDouble; }

}  // namespace

at::Tensor clamp_to_limits(const at::Tensor& weight, const WeightScheme& scheme,
                           const at::Tensor& low, const at::Tensor& high) {
  if (!low.defined()) return weight;
  const int64_t columns = weight.size(1), width = scheme.group_width(columns);
  const auto spread = [&](const at::Tensor& limit) {
    if (limit.size(1) == 1) return limit.to(weight.scalar_type());
    return limit.to(weight.scalar_type()).repeat_interleave(width, 1).narrow(1, 0, columns);
  };
  return at::clamp(weight, spread(low), spread(high));
}

at::Tensor encode(const at::Tensor& weight, const Grid& grid) {
  if (is_double(weight)) return encode_with<double>(weight, grid, encode_row<double>);
  return encode_with<float>(weight, grid, static_cast<Encoder>(encode_row<float>));
}

at::Tensor encode_reference(const at::Tensor& weight, const Grid& grid) {
  if (is_double(weight)) return encode_with<double>(weight, grid, plain::encode_row<double>);
  return encode_with<float>(weight, grid, static_cast<Encoder>(plain::encode_row<float>));
}

at::Tensor decode(const at::Tensor& codes, const Grid& grid) {
  return is_double(grid.scales) ? decode_as<double>(codes, grid) : decode_as<float>(codes, grid);
}

at::Tensor round_trip(const at::Tensor& weight, const Grid& grid) {
  return is_double(weight) ? round_trip_as<double>(weight, grid)
                           : round_trip_as<float>(weight, grid);
}

absl::StatusOr<CompressedLinear> quantize(const Linear& linear, const WeightScheme& scheme,
                                          at::ScalarType scale_dtype) {
  const at::Tensor weight =
      clamp_to_limits(linear.weight, scheme, linear.clip_low, linear.clip_high);
  auto grid = find_grid(weight, scheme, scale_dtype);
  if (!grid.ok()) return annotate(std::move(grid).status(), linear.name);
  return make_result(linear.name, *grid, encode(weight, *grid));
}

CompressedLinear make_result(const std::string& name, const Grid& grid, at::Tensor codes) {
  CompressedLinear result;
  result.name = name;
  result.out = codes.size(0);
  result.in = codes.size(1);
  result.scheme = grid.scheme;
  result.codes = std::move(codes);
  result.scales = grid.scales;
  result.zeros = grid.zeros;
  return result;
}

}  // namespace swage::quant
