// Llama 1 to 3.3, Mistral, InternLM3 and what follows their config.json (SmolLM2 …):
// pre-norm blocks with RMSNorm, rotary embeddings, grouped key and value heads
// and a gated MLP (Touvron et al. 2023, Jiang et al. 2023).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

const swage::nn::Families kFamilies = {{"LlamaForCausalLM", "llama"},
                                       {"MistralForCausalLM", "mistral"},
                                       {"InternLM3ForCausalLM", "internlm3"}};

class Llama final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    const bool mistral = family == "mistral", internlm3 = family == "internlm3";
    DecoderDescription d;
    d.vocab_size = internlm3 ? 128512 : 32000;
    d.hidden_size = 4096;
    d.intermediate_size = mistral ? 14336 : 11008;
    d.block_count = d.heads = 32;
    d.kv_heads = mistral ? 8 : internlm3 ? 32 : 0;
    d.context_length = mistral ? 131072 : internlm3 ? 32768 : 2048;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    if (mistral) {
      d.window = swage::nn::window_size(config, 4096);
    } else if (internlm3) {
      d.qkv_bias = config.flag("qkv_bias", false);
      d.o_bias = d.mlp_bias = config.flag("bias", false);
    } else {
      d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
      d.mlp_bias = config.flag("mlp_bias", false);
    }
    return d;
  }
};

}  // namespace

SWAGE_MODEL(Llama, "llama");
