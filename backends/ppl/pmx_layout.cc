#include "pmx_layout.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <mutex>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/packing.h"

namespace swage::ppl {
namespace {

constexpr int kBits = 4;
constexpr int64_t kRows = 4;  // that share a word

at::Tensor regrouped(const at::Tensor& rows, int64_t head_dim, int64_t first, int64_t second) {
  std::vector<int64_t> shape = {rows.size(0) / head_dim, first, second};
  shape.insert(shape.end(), rows.sizes().begin() + 1, rows.sizes().end());
  return rows.reshape(shape).transpose(1, 2).reshape(rows.sizes()).contiguous();
}

class InterleavedSource final : public WeightSource {
 public:
  InterleavedSource(const WeightSource& source, int64_t head_dim)
      : source_(source), head_dim_(head_dim) {}

  std::vector<std::string> names() const override { return source_.names(); }
  bool has(std::string_view name) const override { return source_.has(name); }
  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    return source_.shape(name);
  }
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    return source_.dtype(name);
  }
  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    const std::string text(name);
    const size_t dot = text.rfind('.');
    const std::string part = text.substr(dot + 1);
    const bool moved = rotates(text.substr(0, dot)) &&
                       (part == "qweight" || part == "scale" || part == "zeropoint");
    if (!moved) return source_.read(name);
    const std::lock_guard lock(mutex_);
    if (text == last_name_) return last_;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, source_.read(name));
    const bool packed = tensor.scalar_type() == at::kShort;
    const at::Tensor rows = interleaved(packed ? unpack_rows(tensor) : tensor, head_dim_);
    last_ = packed ? pack_rows(rows) : rows;
    last_name_ = text;
    return last_;
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    if (!rotates(std::string(name.substr(0, name.rfind('.')))))
      return source_.read_rows(name, begin, end);
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, read(name));
    return tensor.slice(0, begin, end);
  }

 private:
  const WeightSource& source_;
  const int64_t head_dim_;
  // Large tensors are copied in pieces.
  mutable std::mutex mutex_;
  mutable std::string last_name_;
  mutable at::Tensor last_;
};

}  // namespace

at::Tensor pack_rows(const at::Tensor& codes) {
  const at::Tensor words = store::pack(codes.t(), kBits).view(at::kShort);
  return words.narrow(1, 0, codes.size(0) / kRows).t().contiguous();
}

at::Tensor unpack_rows(const at::Tensor& words) {
  at::Tensor halves = words.t().contiguous();
  if (halves.size(1) % 2 != 0)
    halves = at::cat({halves, at::zeros({halves.size(0), 1}, halves.options())}, 1);
  return store::unpack(halves.view(at::kInt), kBits, words.size(0) * kRows).t().contiguous();
}

at::Tensor interleaved(const at::Tensor& rows, int64_t head_dim) {
  return regrouped(rows, head_dim, 2, head_dim / 2);
}

at::Tensor split_in_halves(const at::Tensor& rows, int64_t head_dim) {
  return regrouped(rows, head_dim, head_dim / 2, 2);
}

bool rotates(const std::string& linear) {
  return absl::EndsWith(linear, ".q_proj") || absl::EndsWith(linear, ".k_proj");
}

absl::StatusOr<int64_t> head_dim_of(const Value& model_config) {
  const auto integer = [&](const char* key) {
    const int64_t* const value = model_config[key].integer();
    return value == nullptr ? int64_t{0} : *value;
  };
  const int64_t heads = integer("num_attention_heads");
  const int64_t stated = integer("head_dim");
  const int64_t size = stated != 0 ? stated : heads > 0 ? integer("hidden_size") / heads : 0;
  if (size >= 2 && size % 2 == 0) return size;
  return absl::InvalidArgumentError(
      absl::StrCat("config.json: head_dim (or hidden_size by num_attention_heads) is ", size,
                   ", expected an even number: rows of query and key are in its order"));
}

std::unique_ptr<WeightSource> interleaved_source(const WeightSource& source, int64_t head_dim) {
  return std::make_unique<InterleavedSource>(source, head_dim);
}

}  // namespace swage::ppl
