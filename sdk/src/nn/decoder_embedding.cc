// From token ids to the residual stream.
#include <ATen/ops/index_select.h>

#include <optional>

#include "nn/block_reader.h"
#include "swage/nn/decoder.h"
#include "swage/nn/features.h"
#include "swage/nn/load.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

class DecoderEmbedding final : public Embedding {
 public:
  DecoderEmbedding(const DecoderDescription& description, const LoadOptions& options)
      : description_(description), options_(options) {}

  absl::Status load(const WeightSource& source) {
    const DecoderDescription& d = description_;
    const int64_t width = d.embedding_width > 0 ? d.embedding_width : d.hidden_size;
    // Written as the embedding's, wherever it was read.
    SWAGE_RETURN_IF_ERROR(load_table(source, table_name(d, source), d.names.embedding,
                                     {d.vocab_size, width}, &table_));
    if (!d.names.positions.empty()) {
      const int64_t rows = d.context_length + d.position_offset;
      SWAGE_RETURN_IF_ERROR(load_table(source, d.names.positions + ".weight", d.names.positions,
                                       {rows, d.hidden_size}, &positions_));
    }
    // Linears of a block are compressed; this one only widens the rows of the table.
    BlockReader reader(source, options_, "", nullptr, &parameters_);
    if (!d.names.project_in.empty()) {
      SWAGE_RETURN_IF_ERROR(
          reader.parameter(d.names.project_in + ".weight", {d.hidden_size, width}, &project_in_));
    }
    if (d.names.embedding_norm.empty()) return absl::OkStatus();
    return reader.norm(d.names.embedding_norm, d.norm, d.norm_eps, d.hidden_size, &norm_);
  }

  absl::Status embed(Slots& slots) override {
    const at::Tensor& ids = slots.at(kIds);
    SWAGE_RETURN_IF_ERROR(check_range(ids, description_.vocab_size, "token id",
                                      "the vocabulary of ",
                                      ": do tokenizer and model belong together?"));
    at::Tensor rows = gather(linear_ ? linear_->effective_weight() : table_->value, ids);
    const double scale = description_.embedding_scale;
    const bool scales_all = description_.scales_features;
    if (scale != 1.0 && !scales_all) rows = rows * scale;
    if (project_in_ != nullptr) rows = affine(rows, project_in_->value, {});
    rows = with_features(std::move(rows), slots);
    if (scale != 1.0 && scales_all) rows = rows * scale;
    if (positions_ != nullptr) {
      const at::Tensor places = slots.positions + description_.position_offset;
      SWAGE_RETURN_IF_ERROR(check_range(places, positions_->value.size(0), "position",
                                        "the table of positions of ",
                                        ": windows must not be longer than the model's context"));
      rows = rows + gather(positions_->value, places);
    }
    slots[kHidden] = norm_.present ? norm_.apply(rows) : rows;
    return absl::OkStatus();
  }

  EmbeddingSites residual_sites() override {
    EmbeddingSites sites;
    sites.compute = options_.compute;
    if (norm_.present) sites.why_none = "a norm stands behind the embedding";
    if (project_in_ != nullptr) sites.why_none = "the embedding is narrower than the stream";
    if (linear_) sites.why_none = "the embedding is compressed";
    if (!sites.why_none.empty()) return sites;
    sites.tables = {table_};
    if (positions_ != nullptr) sites.tables.push_back(positions_);
    return sites;
  }

  Linear* linear() override {
    if (linear_) return &*linear_;
    linear_.emplace();
    linear_->name = table_->name.substr(0, table_->name.rfind('.'));
    linear_->weight = table_->value.to(options_.compute);
    linear_->storage = table_->storage;
    parameters_.pop_front();  // the table came first
    table_ = nullptr;
    return &*linear_;
  }

 private:
  // Tables keep their storage dtype: they are large, and few rows are read.
  absl::Status load_table(const WeightSource& source, const std::string& stored,
                          const std::string& module, const std::vector<int64_t>& shape,
                          Parameter** slot) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor table, read_checked(source, stored, shape));
    parameters_.push_back({module + ".weight", table.to(options_.device), table.scalar_type()});
    *slot = &parameters_.back();
    return absl::OkStatus();
  }

  // Whatever follows the table, positions or a norm, is done to features as to words.
  static at::Tensor with_features(at::Tensor rows, Slots& slots) {
    if (!slots.has(kFeatureRows)) return rows;
    const at::Tensor places = slots.take(kFeatureRows).to(rows.device());
    return rows.index_copy(0, places, slots.take(kFeatures).to(rows.options()));
  }

  at::Tensor gather(const at::Tensor& table, const at::Tensor& rows) const {
    return table.index_select(0, rows.to(table.device())).to(options_.compute);
  }

  static absl::Status check_range(const at::Tensor& index, int64_t size, const char* what,
                                  const char* of, const char* advice) {
    if (index.numel() == 0) return absl::OkStatus();
    const int64_t low = index.min().item<int64_t>(), high = index.max().item<int64_t>();
    if (low >= 0 && high < size) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(what, " ", low < 0 ? low : high, " is outside ", of, size, advice));
  }

  const DecoderDescription description_;
  const LoadOptions options_;
  Parameter *table_ = nullptr, *positions_ = nullptr, *project_in_ = nullptr;
  std::optional<Linear> linear_;  // in place of the table
  Norm norm_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Embedding>> load_decoder_embedding(
    const DecoderDescription& description, const WeightSource& source, const LoadOptions& options) {
  auto embedding = std::make_unique<DecoderEmbedding>(as_stored(description, source), options);
  SWAGE_RETURN_IF_ERROR(embedding->load(source));
  return std::unique_ptr<Embedding>(std::move(embedding));
}

}  // namespace swage::nn
