// Embedding, head and adapter of a described decoder.
#include <ATen/ops/index_select.h>

#include "swage/nn/decoder.h"
#include "swage/nn/load.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

class DecoderEmbedding final : public Embedding {
 public:
  DecoderEmbedding(Parameter table, double scale, at::ScalarType compute)
      : scale_(scale), compute_(compute) {
    parameters_.push_back(std::move(table));
  }

  absl::Status embed(const at::Tensor& ids, Slots& slots) override {
    const at::Tensor& table = parameters_.front().value;
    if (ids.numel() > 0) {
      const int64_t low = ids.min().item<int64_t>(), high = ids.max().item<int64_t>();
      if (low < 0 || high >= table.size(0)) {
        return absl::InvalidArgumentError(
            absl::StrCat("token id ", low < 0 ? low : high, " is outside the vocabulary of ",
                         table.size(0), ": do tokenizer and model belong together?"));
      }
    }
    at::Tensor rows = table.index_select(0, ids.to(table.device())).to(compute_);
    slots[kHidden] = scale_ == 1.0 ? rows : rows * scale_;
    return absl::OkStatus();
  }

 private:
  double scale_;
  at::ScalarType compute_;
};

class DecoderHead final : public Head {
 public:
  at::Tensor normalize(const at::Tensor& hidden) override { return norm_.apply(hidden); }
  at::Tensor logits(const at::Tensor& normalized) override {
    return affine(normalized, tied_.defined() ? tied_ : weight_->value, {});
  }

  absl::Status load(const DecoderDescription& d, const WeightSource& source,
                    const LoadOptions& options) {
    norm_.kind = d.norm;
    norm_.eps = d.norm_eps;
    SWAGE_RETURN_IF_ERROR(
        add(&norm_.weight, d.names.final_norm + ".weight", {d.hidden_size}, source, options));
    if (d.norm == NormKind::kLayer) {
      SWAGE_RETURN_IF_ERROR(
          add(&norm_.bias, d.names.final_norm + ".bias", {d.hidden_size}, source, options));
    }
    const std::vector<int64_t> shape = {d.vocab_size, d.hidden_size};
    if (!d.tied_embeddings) return add(&weight_, d.names.head + ".weight", shape, source, options);
    SWAGE_ASSIGN_OR_RETURN(Parameter table,
                           load_parameter(source, d.names.embedding + ".weight", shape, options));
    tied_ = std::move(table.value);
    return absl::OkStatus();
  }

 private:
  absl::Status add(Parameter** slot, const std::string& name, const std::vector<int64_t>& shape,
                   const WeightSource& source, const LoadOptions& options) {
    SWAGE_ASSIGN_OR_RETURN(Parameter parameter, load_parameter(source, name, shape, options));
    parameters_.push_back(std::move(parameter));
    *slot = &parameters_.back();
    return absl::OkStatus();
  }

  Norm norm_;
  Parameter* weight_ = nullptr;  // null where the embedding's table serves
  at::Tensor tied_;
};

absl::Status check_sizes(const DecoderDescription& d) {
  const std::pair<const char*, int64_t> sizes[] = {{"vocab_size", d.vocab_size},
                                                   {"hidden_size", d.hidden_size},
                                                   {"intermediate_size", d.intermediate_size},
                                                   {"num_hidden_layers", d.block_count},
                                                   {"num_attention_heads", d.heads},
                                                   {"num_key_value_heads", d.kv_heads},
                                                   {"head_dim", d.head_dim},
                                                   {"max_position_embeddings", d.context_length}};
  for (const auto& [key, value] : sizes) {
    if (value <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("config.json: ", key, " is ", value, ", expected a positive number"));
    }
  }
  if (d.heads % d.kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: num_attention_heads ", d.heads,
                                                   " is no multiple of num_key_value_heads ",
                                                   d.kv_heads));
  }
  if (d.window < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: sliding_window is ", d.window, ", expected a positive number"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Embedding>> load_decoder_embedding(
    const DecoderDescription& description, const WeightSource& source, const LoadOptions& options) {
  const std::string name = description.names.embedding + ".weight";
  SWAGE_ASSIGN_OR_RETURN(
      const at::Tensor table,
      read_checked(source, name, {description.vocab_size, description.hidden_size}));
  Parameter parameter{name, table.to(options.device), table.scalar_type()};
  return std::unique_ptr<Embedding>(std::make_unique<DecoderEmbedding>(
      std::move(parameter), description.embedding_scale, options.compute));
}

absl::StatusOr<std::unique_ptr<Head>> load_decoder_head(const DecoderDescription& description,
                                                        const WeightSource& source,
                                                        const LoadOptions& options) {
  auto head = std::make_unique<DecoderHead>();
  SWAGE_RETURN_IF_ERROR(head->load(description, source, options));
  return std::unique_ptr<Head>(std::move(head));
}

absl::Status DecoderAdapter::open(const Value& config) {
  if (config.has("quantization_config")) {
    return absl::InvalidArgumentError(
        "config.json: quantization_config is set: the checkpoint is already quantized, "
        "start from the original one");
  }
  SWAGE_ASSIGN_OR_RETURN(description_, describe(config));
  SWAGE_RETURN_IF_ERROR(check_sizes(description_));
  shape_.towers = {{"language", description_.block_count}};
  shape_.hidden_size = description_.hidden_size;
  shape_.vocab_size = description_.vocab_size;
  shape_.context_length = description_.context_length;
  shape_.tied_embeddings = description_.tied_embeddings;
  return absl::OkStatus();
}

void DecoderAdapter::describe_block(int64_t index, DecoderDescription& description) const {}

absl::StatusOr<std::unique_ptr<Embedding>> DecoderAdapter::load_embedding(
    const WeightSource& source, const LoadOptions& options) {
  return load_decoder_embedding(description_, source, options);
}

absl::StatusOr<std::unique_ptr<Block>> DecoderAdapter::load_block(const BlockId& id,
                                                                  const WeightSource& source,
                                                                  const LoadOptions& options) {
  if (id.tower != "language" || id.index < 0 || id.index >= description_.block_count) {
    return absl::InvalidArgumentError(absl::StrCat("no block ", id.tower, " ", id.index,
                                                   ": the model has language 0 to ",
                                                   description_.block_count - 1));
  }
  DecoderDescription description = description_;
  describe_block(id.index, description);
  return load_decoder_block(description, id, source, options);
}

absl::StatusOr<std::unique_ptr<Head>> DecoderAdapter::load_head(const WeightSource& source,
                                                                const LoadOptions& options) {
  return load_decoder_head(description_, source, options);
}

}  // namespace swage::nn
