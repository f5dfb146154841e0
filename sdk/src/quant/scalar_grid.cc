// Codes of a weight on a grid, and back.
#include "swage/quant/scalar_grid.h"

#include <ATen/Parallel.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "quant/view.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

template <class T>
at::Tensor encode_as(const at::Tensor& weight, const ScalarGrid& grid) {
  const at::Tensor w = weight.to(c10::CppTypeToScalarType<T>::value).contiguous();
  const int64_t columns = w.size(1);
  at::Tensor codes = at::empty(w.sizes(), w.options().dtype(grid.table->type()));
  const GridRows<T> rows(grid);
  const T* x = w.template const_data_ptr<T>();
  auto* q = static_cast<uint8_t*>(codes.mutable_data_ptr());
  at::parallel_for(0, w.size(0), rows_per_task(columns), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      encode_row<T>(x + r * columns, columns, rows.row(r), q + r * columns);
  });
  return codes;
}

template <class T>
at::Tensor decode_as(const at::Tensor& codes, const ScalarGrid& grid) {
  const at::Tensor source = codes.contiguous();
  const int64_t columns = source.size(1);
  at::Tensor out =
      at::empty(source.sizes(), source.options().dtype(c10::CppTypeToScalarType<T>::value));
  const GridRows<T> rows(grid);
  const auto* q = static_cast<const uint8_t*>(source.const_data_ptr());
  T* y = out.template mutable_data_ptr<T>();
  at::parallel_for(0, source.size(0), rows_per_task(columns), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      decode_row<T>(q + r * columns, columns, rows.row(r), y + r * columns);
  });
  return out;
}

template <class T>
at::Tensor round_trip_as(const at::Tensor& weight, const ScalarGrid& grid) {
  const at::Tensor w = weight.to(c10::CppTypeToScalarType<T>::value).contiguous();
  const int64_t columns = w.size(1);
  at::Tensor out = at::empty_like(w);
  const GridRows<T> rows(grid);
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

// Levels as a matrix of the weight's shape.
at::Tensor spread(const at::Tensor& levels, const ScalarGrid& grid, at::IntArrayRef sizes) {
  return levels.repeat_interleave(grid.height, 0)
      .narrow(0, 0, sizes[0])
      .repeat_interleave(grid.width, 1)
      .narrow(1, 0, sizes[1]);
}

// The place among the sorted values. Comparisons are those of the kernels: with floats for floats.
at::Tensor places(const at::Tensor& scaled, const ScalarTable& table) {
  const at::Tensor edges =
      is_double(scaled) ? at::tensor(at::ArrayRef<double>(table.exact_edges()), scaled.options())
                        : at::tensor(at::ArrayRef<float>(table.edges()), scaled.options());
  return at::bucketize(scaled, edges, /*out_int32=*/false, /*right=*/false);
}

// Floats of few bits by their own rounding, in tensor operations: halves go to even.
at::Tensor nearest_float(const at::Tensor& scaled, const ScalarTable& table) {
  const double least_exponent = 1 - table.bias();
  const at::Tensor size = scaled.abs().clamp_max(table.greatest()).to(at::kDouble);
  const at::Tensor exponent = size.log2().floor().clamp_min(least_exponent);
  // log2 may round up to the next power: the step is then too wide by one place.
  const at::Tensor least = exponent.exp2();
  const at::Tensor exact =
      at::where(least.gt(size), exponent - 1, exponent).clamp_min(least_exponent);
  const at::Tensor step = (exact - table.mantissa_bits()).exp2();
  const at::Tensor value = (size / step).round() * step;
  return at::where(scaled.signbit(), -value, value).to(scaled.scalar_type());
}

}  // namespace

at::Tensor clamp_to_limits(const at::Tensor& weight, int64_t width, const at::Tensor& low,
                           const at::Tensor& high) {
  if (!low.defined()) return weight;
  const int64_t columns = weight.size(1), groups = low.size(1);
  // Limits that were found for other groups hold for the columns that they were found for.
  if (groups != (columns + width - 1) / width) {
    if (columns % groups != 0)
      throw std::invalid_argument(absl::StrCat("range limits of ", groups, " groups do not fit ",
                                               columns, " columns in groups of ", width));
    width = columns / groups;
  }
  const auto spread_limit = [&](const at::Tensor& limit) {
    if (limit.size(1) == 1) return limit.to(weight.scalar_type());
    return limit.to(weight.scalar_type()).repeat_interleave(width, 1).narrow(1, 0, columns);
  };
  return at::clamp(weight, spread_limit(low), spread_limit(high));
}

at::Tensor encode(const at::Tensor& weight, const ScalarGrid& grid) {
  if (!weight.is_cpu()) return encode_plain(weight, grid);
  return is_double(weight) ? encode_as<double>(weight, grid) : encode_as<float>(weight, grid);
}

at::Tensor decode(const at::Tensor& codes, const ScalarGrid& grid) {
  if (!codes.is_cpu()) return decode_plain(codes, grid);
  return is_double(grid.scale) ? decode_as<double>(codes, grid) : decode_as<float>(codes, grid);
}

at::Tensor round_trip(const at::Tensor& weight, const ScalarGrid& grid) {
  if (!weight.is_cpu())
    return decode_plain(encode_plain(weight, grid), grid).to(weight.scalar_type());
  return is_double(weight) ? round_trip_as<double>(weight, grid)
                           : round_trip_as<float>(weight, grid);
}

at::Tensor encode_plain(const at::Tensor& weight, const ScalarGrid& grid) {
  const ScalarTable& table = *grid.table;
  const at::ScalarType type = arithmetic_type(weight.scalar_type());
  at::Tensor scaled = weight.to(type);
  const auto levels = [&](const at::Tensor& one) {
    return spread(one.to(type), grid, weight.sizes());
  };
  if (grid.offset.defined()) scaled = scaled - levels(grid.offset);
  scaled = scaled / levels(grid.scale);
  if (table.kind() == ScalarTable::Kind::kIntegers) {
    if (grid.zero.defined()) {
      const at::Tensor zero = levels(grid.zero), whole = zero.round();
      scaled = (scaled + (zero - whole)).round() + whole;
    } else {
      scaled = scaled.round();
    }
    return scaled.clamp(table.least(), table.greatest()).to(at::kChar);
  }
  std::vector<int64_t> codes(table.codes().begin(), table.codes().end());
  const at::Tensor by_place =
      at::tensor(at::ArrayRef<int64_t>(codes), weight.options().dtype(at::kLong));
  const bool floats = table.kind() == ScalarTable::Kind::kFloats;
  const at::Tensor value = floats ? nearest_float(scaled, table) : scaled;
  at::Tensor code = by_place.index_select(0, places(value, table).flatten()).view(weight.sizes());
  if (floats)  // minus zero has a code of its own
    code = code.bitwise_or(value.signbit().to(at::kLong) * (int64_t{1} << (table.bits() - 1)));
  return code.to(at::kByte).view(table.type());
}

at::Tensor decode_plain(const at::Tensor& codes, const ScalarGrid& grid) {
  const at::ScalarType type = grid.decoded == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor by_code =
      at::tensor(at::ArrayRef<float>(grid.table->values(), 256), grid.scale.options().dtype(type));
  const at::Tensor index = codes.contiguous().view(at::kByte).to(at::kInt).flatten();
  const auto levels = [&](const at::Tensor& one) {
    return spread(one.to(type), grid, codes.sizes());
  };
  at::Tensor value = by_code.index_select(0, index).view(codes.sizes());
  if (grid.zero.defined()) value = value - levels(grid.zero);
  value = value * levels(grid.scale);
  if (grid.offset.defined()) value = value + levels(grid.offset);
  return value.to(grid.decoded).to(arithmetic_type(grid.scale.scalar_type()));
}

}  // namespace swage::quant
