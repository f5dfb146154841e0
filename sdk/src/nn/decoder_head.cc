// From the residual stream to logits.
#include <optional>

#include "nn/block_reader.h"
#include "nn/elementwise.h"
#include "swage/nn/decoder.h"
#include "swage/nn/load.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

class DecoderHead final : public Head {
 public:
  explicit DecoderHead(const DecoderDescription& description) : description_(description) {}

  absl::Status load(const WeightSource& source, const LoadOptions& options) {
    const DecoderDescription& d = description_;
    matrix_name = d.names.head + ".weight";
    BlockReader reader(source, options, "", nullptr, &parameters_);
    if (!d.names.final_norm.empty()) {
      SWAGE_RETURN_IF_ERROR(
          reader.norm(d.names.final_norm, d.norm, d.norm_eps, d.hidden_size, &norm_));
    }
    const int64_t width = d.embedding_width > 0 ? d.embedding_width : d.hidden_size;
    if (!d.names.project_out.empty()) {
      SWAGE_RETURN_IF_ERROR(
          reader.parameter(d.names.project_out + ".weight", {width, d.hidden_size}, &project_out_));
    }
    if (d.head_bias)
      SWAGE_RETURN_IF_ERROR(reader.parameter(d.names.head + ".bias", {d.vocab_size}, &bias_));
    const std::vector<int64_t> shape = {d.vocab_size, width};
    if (!d.tied_embeddings) return reader.parameter(d.names.head + ".weight", shape, &weight_);
    SWAGE_ASSIGN_OR_RETURN(Parameter table,
                           load_parameter(source, table_name(d, source), shape, options));
    tied_ = std::move(table.value);
    storage_ = table.storage;
    return absl::OkStatus();
  }

  at::Tensor normalize(const at::Tensor& hidden) override {
    const at::Tensor x = norm_.present ? norm_.apply(hidden) : hidden;
    return project_out_ != nullptr ? affine(x, project_out_->value, {}) : x;
  }

  at::Tensor logits(const at::Tensor& normalized) override {
    const DecoderDescription& d = description_;
    const at::Tensor y = linear_ ? of_linear(normalized) : of_matrix(normalized);
    if (d.logit_softcap == 0) return y;
    return elementwise(y / d.logit_softcap, [](const at::Tensor& x) { return x.tanh(); }) *
           d.logit_softcap;
  }

  HeadSites residual_sites() override {
    HeadSites sites;
    if (norm_.weight == nullptr)
      sites.why_none = "no norm with weights stands in front of the head";
    if (project_out_ != nullptr) sites.why_none = "the head reads less than the stream";
    sites.norm_weight = norm_.weight;
    sites.norm_bias = norm_.bias;
    sites.norm_offset = is_offset(norm_.kind);
    sites.norm_subtracts_mean = subtracts_mean(norm_.kind);
    sites.matrix = weight_;
    return sites;
  }

  void untie() override {
    if (!tied_.defined()) return;
    parameters_.push_back({matrix_name, tied_, storage_});
    weight_ = &parameters_.back();
    tied_ = at::Tensor();
  }

  Linear* linear() override {
    if (linear_) return &*linear_;
    untie();
    linear_.emplace();
    linear_->name = weight_->name.substr(0, weight_->name.rfind('.'));
    linear_->weight = weight_->value;
    linear_->storage = weight_->storage;
    parameters_.pop_back();  // the matrix came last
    weight_ = nullptr;
    return &*linear_;
  }

 private:
  at::Tensor of_matrix(const at::Tensor& normalized) const {
    const double scale = description_.head_scale;
    return affine(scale == 1.0 ? normalized : normalized * scale,
                  tied_.defined() ? tied_ : weight_->value,
                  bias_ != nullptr ? bias_->value : at::Tensor());
  }

  at::Tensor of_linear(const at::Tensor& normalized) const {
    at::Tensor y = linear_->apply(normalized);
    if (description_.head_scale != 1.0) y = y * description_.head_scale;
    return bias_ != nullptr ? y + bias_->value : y;
  }

  const DecoderDescription description_;
  Norm norm_;
  Parameter *weight_ = nullptr, *bias_ = nullptr, *project_out_ = nullptr;
  at::Tensor tied_;  // the embedding's table, where it serves as the output matrix
  at::ScalarType storage_ = at::kFloat;  // of it
  std::optional<Linear> linear_;         // in place of both
};

}  // namespace

absl::StatusOr<std::unique_ptr<Head>> load_decoder_head(const DecoderDescription& description,
                                                        const WeightSource& source,
                                                        const LoadOptions& options) {
  auto head = std::make_unique<DecoderHead>(as_stored(description, source));
  SWAGE_RETURN_IF_ERROR(head->load(source, options));
  return std::unique_ptr<Head>(std::move(head));
}

}  // namespace swage::nn
