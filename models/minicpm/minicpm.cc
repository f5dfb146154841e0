// MiniCPM: Llama with three factors, on embeddings, on what each part adds and
// on what the head reads (Hu et al. 2024).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class MiniCpm final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.vocab_size = 32000;
    d.hidden_size = 4096;
    d.intermediate_size = 11008;
    d.block_count = d.heads = 32;
    d.context_length = 2048;
    d.tied_embeddings = true;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
    d.embedding_scale = config.f64("scale_emb", 1.0);
    d.residual_scale =
        config.f64("scale_depth", 1.0) / std::sqrt(static_cast<double>(d.block_count));
    d.head_scale = config.f64("dim_model_base", 1.0) / static_cast<double>(d.hidden_size);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(MiniCpm, "minicpm");
