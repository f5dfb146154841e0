// Command R and R7B: attention and MLP side by side behind one LayerNorm without bias,
// neighbouring channels rotate; windows, and no rotation without one (R7B).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

const swage::nn::Families kFamilies = {{"CohereForCausalLM", "cohere"},
                                       {"Cohere2ForCausalLM", "cohere2"}};

class Cohere final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    const bool second = family == "cohere2";
    DecoderDescription d;
    d.form = swage::nn::BlockForm::kParallel;
    d.names.post_norm.clear();
    d.norm = swage::nn::NormKind::kLayerScaled;
    d.norm_eps = 1e-5;
    d.vocab_size = 256000;
    d.hidden_size = 8192;
    d.intermediate_size = 22528;
    d.block_count = 40;
    d.heads = 64;
    d.context_length = 8192;
    d.tied_embeddings = true;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d, second ? 1e4 : 5e5));
    d.rope_interleaved = true;
    d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
    d.head_scale = config.f64("logit_scale", 0.0625);
    if (!second && config.flag("use_qk_norm", false)) {
      d.head_norm = swage::nn::HeadNorm::kStacked;
      d.head_norm_kind = swage::nn::NormKind::kLayerScaled;
    }
    return d;
  }

  absl::Status describe_block(const Value& config, int64_t index,
                              DecoderDescription& d) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    if (family != "cohere2") return absl::OkStatus();
    const int64_t window = swage::nn::window_size(config, 4096);
    const int64_t pattern = config.i64("sliding_window_pattern", 4);
    const bool slides = pattern <= 0 || (index + 1) % pattern != 0;
    SWAGE_ASSIGN_OR_RETURN(d.window,
                           swage::nn::read_window(config, d.block_count, index, window, slides));
    if (d.window == 0) d.rope = nullptr;
    return absl::OkStatus();
  }
};

}  // namespace

SWAGE_MODEL(Cohere, "cohere");
