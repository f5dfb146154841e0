#include "io/fp8_source.h"

#include <algorithm>
#include <unordered_map>

#include "absl/strings/str_join.h"
#include "swage/status.h"

namespace swage::io {
namespace {

at::ScalarType scalar_type(StoredType type) {
  if (type == StoredType::kF16) return at::kHalf;
  return type == StoredType::kF32 ? at::kFloat : at::kBFloat16;
}

class Fp8Source final : public WeightSource {
 public:
  Fp8Source(std::unique_ptr<WeightSource> stored, std::shared_ptr<const Header> header,
            Header floats, const Value& config)
      : stored_(std::move(stored)),
        header_(std::move(header)),
        floats_(std::move(floats)),
        type_(scalar_type(float_type(config))) {
    scaled_.reserve(floats_.size());
    auto before = header_->begin();  // both are sorted, and floats_ has no other names
    for (const auto& [name, info] : floats_) {
      while (before->first != name) ++before;
      scaled_.emplace(name, before->second.type != info.type);
    }
    const Value::List* block = config["quantization_config"]["weight_block_size"].list();
    if (block == nullptr || block->size() != 2) return;
    for (const Value& side : *block)
      block_.push_back(side.integer() != nullptr ? *side.integer() : 0);
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, info] : floats_) names.push_back(name);
    return names;
  }
  bool has(std::string_view name) const override { return scaled_.count(name) > 0; }
  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    return stored_->shape(name);
  }
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    return scaled(name) ? type_ : stored_->dtype(name);
  }
  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored, stored_->read(name));
    return scaled(name) ? dequantize(name, stored, 0) : absl::StatusOr<at::Tensor>(stored);
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored, stored_->read_rows(name, begin, end));
    return scaled(name) ? dequantize(name, stored, begin) : absl::StatusOr<at::Tensor>(stored);
  }

 private:
  bool scaled(std::string_view name) const {
    const auto found = scaled_.find(name);
    return found != scaled_.end() && found->second;
  }

  // Rows of the weight from `first_row` on.
  absl::StatusOr<at::Tensor> dequantize(std::string_view name, const at::Tensor& stored,
                                        int64_t first_row) const {
    const std::string scale_name = fp8_scale_of(*header_, name);
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor read, stored_->read(scale_name));
    const at::Tensor scale = read.to(at::kFloat), weight = stored.to(at::kFloat);
    if (scale.numel() == 1) return (weight * scale.flatten()).to(type_);
    const std::vector<int64_t>& shape = header_->find(name)->second.shape;
    if (shape.size() == 2 && scale.numel() == shape[0] && scale.size(0) == shape[0]) {
      const at::Tensor rows = scale.flatten().slice(0, first_row, first_row + weight.size(0));
      return (weight * rows.unsqueeze(1)).to(type_);
    }
    return by_blocks(name, scale_name, weight, scale, shape, first_row);
  }

  absl::StatusOr<at::Tensor> by_blocks(std::string_view name, const std::string& scale_name,
                                       const at::Tensor& weight, const at::Tensor& scale,
                                       const std::vector<int64_t>& shape, int64_t first_row) const {
    const auto blocks = [](int64_t size, int64_t side) { return (size + side - 1) / side; };
    const bool fits = block_.size() == 2 && block_[0] > 0 && block_[1] > 0 && shape.size() == 2 &&
                      scale.dim() == 2 && scale.size(0) == blocks(shape[0], block_[0]) &&
                      scale.size(1) == blocks(shape[1], block_[1]);
    if (!fits) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", scale_name, " has shape [", absl::StrJoin(scale.sizes(), ", "),
          "], which is no scale of ", std::string(name), " [", absl::StrJoin(shape, ", "),
          "]: expected one for the tensor, one for each row, or one for each block of ",
          block_.empty() ? "weight_block_size" : absl::StrJoin(block_, " x ")));
    }
    const at::Tensor row =
        (at::arange(weight.size(0), at::kLong) + first_row).floor_divide(block_[0]);
    const at::Tensor column = at::arange(weight.size(1), at::kLong).floor_divide(block_[1]);
    return (weight * scale.index_select(0, row).index_select(1, column)).to(type_);
  }

  const std::unique_ptr<WeightSource> stored_;
  const std::shared_ptr<const Header> header_;
  const Header floats_;
  std::unordered_map<std::string_view, bool> scaled_;  // of floats_
  const at::ScalarType type_;
  std::vector<int64_t> block_;  // rows and columns that share a scale; empty: no blocks
};

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> dequantized_source(
    std::unique_ptr<WeightSource> stored, std::shared_ptr<const Header> header,
    const Value& config) {
  SWAGE_RETURN_IF_ERROR(check_fp8_scales(*header, config));
  SWAGE_ASSIGN_OR_RETURN(Header floats, header_in_floats(*header, float_type(config)));
  return std::unique_ptr<WeightSource>(
      std::make_unique<Fp8Source>(std::move(stored), std::move(header), std::move(floats), config));
}

}  // namespace swage::io
