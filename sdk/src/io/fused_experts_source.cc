#include "io/fused_experts_source.h"

#include "swage/status.h"

namespace swage::io {
namespace {

class ExpertSource final : public WeightSource {
 public:
  ExpertSource(std::unique_ptr<WeightSource> stored, Header header, ExpertNames names)
      : stored_(std::move(stored)),
        header_(std::move(header)),
        names_(std::move(names)),
        matrices_(header_by_expert(header_, names_)) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, info] : matrices_) names.push_back(name);
    return names;
  }
  bool has(std::string_view name) const override { return matrices_.find(name) != matrices_.end(); }
  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    if (const auto part = fused_expert(header_, name, names_))
      return std::vector<int64_t>{part->end - part->begin, header_.at(part->tensor).shape[2]};
    return stored_->shape(beside_experts(header_, name, names_));
  }
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    const auto part = fused_expert(header_, name, names_);
    return stored_->dtype(part ? part->tensor : beside_experts(header_, name, names_));
  }
  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    const auto part = fused_expert(header_, name, names_);
    return part ? read_part(*part, part->begin, part->end)
                : stored_->read(beside_experts(header_, name, names_));
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    const auto part = fused_expert(header_, name, names_);
    return part ? read_part(*part, part->begin + begin, part->begin + end)
                : stored_->read_rows(beside_experts(header_, name, names_), begin, end);
  }

 private:
  absl::StatusOr<at::Tensor> read_part(const FusedExpert& part, int64_t begin, int64_t end) const {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor slice,
                           stored_->read_rows(part.tensor, part.expert, part.expert + 1));
    return slice[0].slice(0, begin, end).clone();
  }

  const std::unique_ptr<WeightSource> stored_;
  const Header header_;
  const ExpertNames names_;
  const Header matrices_;
};

}  // namespace

std::unique_ptr<WeightSource> by_expert(std::unique_ptr<WeightSource> stored, const Header& header,
                                        const ExpertNames& names) {
  return std::make_unique<ExpertSource>(std::move(stored), header, names);
}

}  // namespace swage::io
