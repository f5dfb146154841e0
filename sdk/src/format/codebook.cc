// Learned tables (k-means): indices of numbers, a table for each row (Kim et al. 2024, SqueezeLLM),
// or of vectors of k columns, one table for the matrix.
#include <ATen/ops/empty.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/where.h>

#include "absl/strings/str_cat.h"
#include "format/vectors.h"
#include "quant/k_means.h"
#include "quant/view.h"
#include "swage/part_check.h"
#include "swage/register.h"

namespace swage::format {
namespace {

constexpr char kCodes[] = "codes", kTable[] = "table";
constexpr int kDefaultBits = 4;

class Codebook final : public Codec {
 public:
  explicit Codebook(const Params& params) : Codebook(Value(params.values())) {}

 private:
  explicit Codebook(const Value& keys)
      : bits_(keys.i64("bits", kDefaultBits)),
        entries_(int64_t{1} << bits_),
        k_(keys.i64("columns", 1)),
        measured_(keys.str("importance", "none") == "inputs") {}

  std::string do_describe() const override {
    return absl::StrCat("codebook ", bits_, " bits",
                        k_ > 1 ? absl::StrCat(" for ", k_, " columns") : "");
  }
  std::string do_form() const override {
    return absl::StrCat("codebook ", bits_, " bits, ", k_, " columns");
  }

  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override {
    SWAGE_RETURN_IF_ERROR(check_vectors(format(), weight, k_));
    const at::Tensor inside =
        quant::clamp_to_limits(weight, weight.size(1), request.clip_low, request.clip_high);
    // Learning is branches and sums in a fixed order: it runs on the host, for any device.
    const at::Tensor w =
        inside.to(at::kCPU, quant::arithmetic_type(weight.scalar_type())).contiguous();
    at::Tensor importance;
    if (request.importance.defined() && request.importance.any().item<bool>())
      importance = request.importance.to(w.options()).contiguous();
    at::Tensor table = w.scalar_type() == at::kDouble ? learned<double>(w, importance)
                                                      : learned<float>(w, importance);
    table = table.to(request.scale_dtype);
    SWAGE_RETURN_IF_ERROR(check_stored("an entry of the table", table, k_ > 1));
    if (k_ == 1) table = without_repeats(table);
    return Parts{{kTable, table.to(weight.device())}};
  }

  template <class T>
  at::Tensor learned(const at::Tensor& w, const at::Tensor& importance) const {
    const int64_t rows = w.size(0), columns = w.size(1);
    quant::WeightedPoints<T> points;
    points.values = w.const_data_ptr<T>();
    points.k = k_;
    points.count = w.numel() / k_;
    points.period = columns / k_;
    if (importance.defined()) points.importance = importance.const_data_ptr<T>();
    if (k_ > 1) {
      const std::vector<T> table = quant::k_means(points, entries_, 0);
      at::Tensor result = at::empty({entries_, k_}, w.options());
      std::copy(table.begin(), table.end(), result.mutable_data_ptr<T>());
      return result;
    }
    at::Tensor result = at::empty({rows, entries_}, w.options());
    T* to = result.mutable_data_ptr<T>();
    points.count = columns;
    at::parallel_for(0, rows, quant::rows_per_task(columns), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        quant::WeightedPoints<T> row = points;
        row.values += r * columns;
        const std::vector<T> table = quant::k_means_of_numbers(row, entries_, 0);
        std::copy(table.begin(), table.end(), to + r * entries_);
      }
    });
    return result;
  }

  // Entries that became equal in storage stand once, the last one fills what is left: a value has
  // one code.
  static at::Tensor without_repeats(const at::Tensor& table) {
    at::Tensor result = table.to(at::kDouble).contiguous();
    double* entries = result.mutable_data_ptr<double>();
    for (int64_t r = 0; r < result.size(0); ++r, entries += result.size(1)) {
      double* const end = std::unique(entries, entries + result.size(1));
      std::fill(end, entries + result.size(1), end[-1]);
    }
    return result.to(table.scalar_type());
  }

  // Numbers [rows, n] under the rows of a table: the nearer neighbour of two, the first of equals.
  static at::Tensor codes_of_numbers(const at::Tensor& numbers, const at::Tensor& table) {
    const at::Tensor entries = table.to(numbers.scalar_type());
    const at::Tensor above = at::searchsorted(entries, numbers).clamp(1, entries.size(1) - 1);
    const at::Tensor low = entries.gather(1, above - 1), high = entries.gather(1, above);
    const at::Tensor value = at::where((numbers - low).le(high - numbers), low, high);
    return at::searchsorted(entries, value).to(at::kByte);
  }

  template <class T>
  static at::Tensor codes_of_tiles(const at::Tensor& w, const at::Tensor& table) {
    const at::Tensor entries = table.to(w.scalar_type()).contiguous();
    const quant::VectorTable<T> search{entries.const_data_ptr<T>(), entries.size(0),
                                       entries.size(1)};
    at::Tensor codes = at::empty({w.size(0), w.size(1) / search.k}, w.options().dtype(at::kByte));
    auto* to = codes.mutable_data_ptr<uint8_t>();
    for_each_tile<T>(w, search.k, [&](int64_t first, int64_t count, const T* x) {
      int32_t index[quant::kTilePoints];
      quant::nearest_entries<T>(search, x, index, nullptr);
      for (int64_t p = 0; p < count; ++p) to[first + p] = static_cast<uint8_t>(index[p]);
    });
    return codes;
  }

  at::Tensor codes_of(const at::Tensor& weight, const at::Tensor& table) const {
    const at::Tensor w = weight.to(quant::arithmetic_type(weight.scalar_type())).contiguous();
    if (k_ == 1) return codes_of_numbers(w, table);
    if (!w.is_cpu()) {
      return nearest_entries_plain(w.view({-1, k_}), table.to(w.scalar_type()))
          .to(at::kByte)
          .view({w.size(0), -1});
    }
    return w.scalar_type() == at::kDouble ? codes_of_tiles<double>(w, table)
                                          : codes_of_tiles<float>(w, table);
  }

  at::Tensor values_of(const at::Tensor& codes, const at::Tensor& table) const {
    if (k_ == 1) return table.gather(1, codes.to(at::kLong));
    return table.index_select(0, codes.to(at::kInt).flatten()).view({codes.size(0), -1});
  }

  Parts do_encode(const at::Tensor& weight, Parts levels) const override {
    const at::Tensor codes = codes_of(weight, part(levels, kTable));
    levels.insert_or_assign(kCodes, codes);
    return levels;
  }
  at::Tensor do_decode(const Parts& parts, int64_t, int64_t) const override {
    return values_of(part(parts, kCodes), part(parts, kTable)).to(at::kFloat);
  }
  RoundedBlock do_round_block(const at::Tensor& target, const Parts& levels,
                              int64_t) const override {
    const at::Tensor codes = codes_of(target, part(levels, kTable));
    return {codes, values_of(codes, part(levels, kTable)).to(target.scalar_type())};
  }

  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    if (in % k_ != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("its width is ", in, ", expected a multiple of ", k_));
    }
    const PartCheck check(parts);
    SWAGE_RETURN_IF_ERROR(check.shape(kCodes, {out, in / k_}));
    SWAGE_RETURN_IF_ERROR(check.type(kCodes, at::kByte));
    SWAGE_RETURN_IF_ERROR(check.within(kCodes, 0, entries_ - 1));
    SWAGE_RETURN_IF_ERROR(check.shape(kTable, {k_ > 1 ? entries_ : out, k_ > 1 ? k_ : entries_}));
    SWAGE_RETURN_IF_ERROR(check.finite(kTable));
    SWAGE_RETURN_IF_ERROR(check.only({kCodes, kTable}));
    const at::Tensor& table = part(parts, kTable);
    if (table.element_size() == 1)
      return check.wrong(kTable, c10::toString(table.scalar_type()), "floats of 16 bits or more");
    if (k_ > 1 || table.diff(1, 1).ge(0).all().item<bool>()) return absl::OkStatus();
    return check.wrong(kTable, "out of order", "rows whose entries ascend");
  }

  double do_code_bits() const override {
    return static_cast<double>(bits_) / static_cast<double>(k_);
  }
  int64_t do_level_bits(const Parts& parts) const override {
    const at::Tensor& table = part(parts, kTable);
    return table.numel() * static_cast<int64_t>(table.element_size()) * 8;
  }
  int64_t do_planned_level_bits(int64_t out, int64_t, at::ScalarType type) const override {
    return (k_ > 1 ? k_ : out) * entries_ * static_cast<int64_t>(c10::elementSize(type)) * 8;
  }
  int64_t do_column_multiple() const override { return k_; }
  bool do_wants_importance() const override { return measured_; }
  at::ScalarType do_decoded_type(const Parts& parts) const override {
    return part(parts, kTable).scalar_type();
  }
  int64_t do_block_columns() const override { return k_; }

  const int64_t bits_, entries_, k_;
  const bool measured_;
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Codebook, "codebook");
