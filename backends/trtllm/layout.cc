#include "layout.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "swage/status.h"

namespace swage::trtllm {
namespace {

constexpr char kSourceLayer[] = "model.layers.", kLayer[] = "transformer.layers.";

struct Module {
  const char* source;
  const char* name;
  Split split;
};
// In the order in which joined ones lie. `fc` is the gate, and `gate` is what it multiplies.
constexpr Module kInLayer[] = {{"self_attn.q_proj", "attention.qkv", Split::kRows},
                               {"self_attn.k_proj", "attention.qkv", Split::kRows},
                               {"self_attn.v_proj", "attention.qkv", Split::kRows},
                               {"self_attn.o_proj", "attention.dense", Split::kColumns},
                               {"mlp.gate_proj", "mlp.fc", Split::kRows},
                               {"mlp.up_proj", "mlp.gate", Split::kRows},
                               {"mlp.down_proj", "mlp.proj", Split::kColumns},
                               {"input_layernorm", "input_layernorm", Split::kNone},
                               {"post_attention_layernorm", "post_layernorm", Split::kNone}};
constexpr Module kOutside[] = {{"model.embed_tokens", "transformer.vocab_embedding", Split::kNone},
                               {"model.norm", "transformer.ln_f", Split::kNone},
                               {"lm_head", "lm_head", Split::kRows}};

// Axes of outputs and inputs; -1: none.
struct Part {
  const char* name;
  int outputs, inputs;
};
constexpr Part kParts[] = {{"weight", 0, 1},
                           {"bias", 0, -1},
                           {"activation_scaling_factor", -1, -1},
                           {"prequant_scaling_factor", -1, 0},
                           {"per_channel_scale", 1, -1},
                           {"smoother", -1, 1}};
// Of groups it has both; the scale of a tensor has neither, and is as long as no matrix.
constexpr Part kScale = {"weights_scaling_factor", 0, 1};

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

const Part* part_named(const std::string& name) {
  if (name == kScale.name) return &kScale;
  for (const Part& part : kParts) {
    if (name == part.name) return &part;
  }
  return nullptr;
}

// "3" of "<prefix>3.attention.dense", and "attention.dense".
bool split_layer(absl::string_view name, const char* prefix, std::string* layer,
                 std::string* rest) {
  if (!absl::ConsumePrefix(&name, prefix)) return false;
  const size_t dot = name.find('.');
  if (dot == absl::string_view::npos) return false;
  *layer = std::string(name.substr(0, dot));
  *rest = std::string(name.substr(dot + 1));
  int64_t number = 0;
  return absl::SimpleAtoi(*layer, &number) && number >= 0;
}

int64_t outputs_of(const std::string& module, const Model& model) {
  if (absl::EndsWith(module, "q_proj")) return model.heads * model.head_size;
  if (absl::EndsWith(module, "k_proj") || absl::EndsWith(module, "v_proj"))
    return model.kv_heads * model.head_size;
  if (module == "lm_head") return model.vocabulary;
  return absl::EndsWith(module, "gate_proj") || absl::EndsWith(module, "up_proj")
             ? model.intermediate
             : model.hidden;
}

absl::StatusOr<int64_t> size(const Value& config, const char* key, int64_t fallback = 0) {
  const int64_t* const found = config[key].integer();
  const int64_t value = found != nullptr ? *found : fallback;
  if (value >= 1 && value < (int64_t{1} << 31)) return value;
  return refused(
      absl::StrCat("config.json: ", key, " is ", to_json(config[key], -1), ", expected a size"));
}

}  // namespace

absl::StatusOr<Model> Model::of(const Value& config, int64_t ranks) {
  const std::string type = config.str("model_type", "");
  if (type != "llama" && type != "mistral")
    return refused(absl::StrCat("model_type \"", type,
                                "\": TensorRT-LLM checkpoints are written of \"llama\" and "
                                "\"mistral\"; use = \"modelopt\" writes those of other families, "
                                "which TensorRT-LLM loads, too"));
  Model model;
  model.ranks = ranks;
  model.tied = config.flag("tie_word_embeddings", false);
  SWAGE_ASSIGN_OR_RETURN(model.layers, size(config, "num_hidden_layers"));
  SWAGE_ASSIGN_OR_RETURN(model.heads, size(config, "num_attention_heads"));
  SWAGE_ASSIGN_OR_RETURN(model.kv_heads, size(config, "num_key_value_heads", model.heads));
  SWAGE_ASSIGN_OR_RETURN(model.hidden, size(config, "hidden_size"));
  SWAGE_ASSIGN_OR_RETURN(model.head_size, size(config, "head_dim", model.hidden / model.heads));
  SWAGE_ASSIGN_OR_RETURN(model.intermediate, size(config, "intermediate_size"));
  SWAGE_ASSIGN_OR_RETURN(model.vocabulary, size(config, "vocab_size"));
  for (const auto& [what, value] :
       {std::pair("heads of keys", model.kv_heads), std::pair("heads", model.heads),
        std::pair("words", model.vocabulary),
        std::pair("columns of the MLP", model.intermediate)}) {
    if (value % ranks != 0)
      return refused(absl::StrCat("ranks = ", ranks, " does not divide ", value, " ", what));
  }
  return model;
}

absl::StatusOr<Place> place_of(const std::string& tensor, const Model& model) {
  const size_t dot = tensor.rfind('.');
  const std::string module = tensor.substr(0, dot == std::string::npos ? 0 : dot),
                    part_name = tensor.substr(dot + 1);
  const Part* const part = part_named(part_name);
  std::string layer, rest, prefix, source;
  const bool inside = split_layer(module, kSourceLayer, &layer, &rest);
  const Module *begin = inside ? std::begin(kInLayer) : std::begin(kOutside),
               *end = inside ? std::end(kInLayer) : std::end(kOutside);
  const Module* const found = std::find_if(
      begin, end, [&](const Module& known) { return (inside ? rest : module) == known.source; });
  if (part == nullptr || found == end)
    return absl::NotFoundError(absl::StrCat(
        tensor, ": TensorRT-LLM has no name for it in a Llama; leave it out of the model"));
  if (inside) {
    prefix = absl::StrCat(kLayer, layer, ".");
    source = absl::StrCat(kSourceLayer, layer, ".");
  }
  Place place;
  place.tensor = absl::StrCat(prefix, found->name, ".", part->name);
  place.split = found->split;
  if (place.split == Split::kRows) place.axis = part->outputs;
  if (place.split == Split::kColumns) place.axis = part->inputs;
  for (const Module* other = begin; other != end; ++other) {
    if (std::strcmp(other->name, found->name) != 0) continue;
    place.shares.push_back(outputs_of(other->source, model));
    place.members.push_back(absl::StrCat(source, other->source, ".", part->name));
  }
  return place;
}

std::vector<std::string> sources_of(const std::string& tensor) {
  const size_t dot = tensor.rfind('.');
  const std::string module = tensor.substr(0, dot == std::string::npos ? 0 : dot);
  std::string layer, rest;
  const bool inside = split_layer(module, kLayer, &layer, &rest);
  std::vector<std::string> sources;
  const auto add = [&](const Module& known) {
    if ((inside ? rest : module) != known.name) return;
    sources.push_back(absl::StrCat(inside ? absl::StrCat(kSourceLayer, layer, ".") : "",
                                   known.source, tensor.substr(dot)));
  };
  if (inside) {
    for (const Module& known : kInLayer) add(known);
  } else {
    for (const Module& known : kOutside) add(known);
  }
  return sources;
}

bool is_linear(const std::string& module) {
  std::string layer, rest;
  if (!split_layer(module, kSourceLayer, &layer, &rest)) return false;
  return std::any_of(std::begin(kInLayer), std::end(kInLayer), [&](const Module& known) {
    return known.split != Split::kNone && rest == known.source;
  });
}

}  // namespace swage::trtllm
