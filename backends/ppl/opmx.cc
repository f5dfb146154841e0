#include "opmx.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "pmx_layout.h"
#include "swage/status.h"

namespace swage::ppl {
namespace {

constexpr std::pair<const char*, const char*> kLinears[] = {
    {"self_attn.q_proj", "attention.wq"}, {"self_attn.k_proj", "attention.wk"},
    {"self_attn.v_proj", "attention.wv"}, {"self_attn.o_proj", "attention.wo"},
    {"mlp.gate_proj", "feed_forward.w1"}, {"mlp.down_proj", "feed_forward.w2"},
    {"mlp.up_proj", "feed_forward.w3"}};
constexpr std::pair<const char*, const char*> kNorms[] = {{"input_layernorm", "attention_norm"},
                                                          {"post_attention_layernorm", "ffn_norm"}};
constexpr std::pair<const char*, const char*> kEnds[] = {
    {"model.embed_tokens.weight", "tok_embeddings.weight"},
    {"model.norm.weight", "norm.weight"},
    {"lm_head.weight", "output.weight"}};

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

// "7" and "mlp.up_proj" of "model.layers.7.mlp.up_proj".
bool in_block(absl::string_view module, std::string* block, std::string* rest) {
  if (!absl::ConsumePrefix(&module, "model.layers.")) return false;
  const size_t dot = module.find('.');
  if (dot == absl::string_view::npos || dot == 0) return false;
  *block = std::string(module.substr(0, dot));
  *rest = std::string(module.substr(dot + 1));
  return std::all_of(block->begin(), block->end(), absl::ascii_isdigit);
}

// Of a module of a block; "" where there is none.
std::string pmx_module(const std::string& module) {
  std::string block, rest;
  if (!in_block(module, &block, &rest)) return "";
  for (const auto& [own, name] : kLinears)
    if (rest == own) return absl::StrCat("layers.", block, ".", name);
  for (const auto& [own, name] : kNorms)
    if (rest == own) return absl::StrCat("layers.", block, ".", name);
  return "";
}

std::string pmx_name(const std::string& tensor) {
  for (const auto& [own, name] : kEnds)
    if (tensor == own) return name;
  const size_t dot = tensor.rfind('.');
  const std::string module = pmx_module(tensor.substr(0, dot));
  return module.empty() ? "" : module + tensor.substr(dot);
}

}  // namespace

absl::Status check_name(const std::string& linear) {
  std::string block, rest;
  const bool known = in_block(linear, &block, &rest) &&
                     std::any_of(std::begin(kLinears), std::end(kLinears),
                                 [&](const auto& names) { return rest == names.first; });
  return known ? absl::OkStatus()
               : refused(
                     "the exporter knows pmx's llama, whose linears are "
                     "model.layers.N.self_attn.{q,k,v,o}_proj and "
                     "model.layers.N.mlp.{gate,up,down}_proj; export with use = \"huggingface\"");
}

absl::StatusOr<Value> opmx_params(const Value& config) {
  if (config["model_type"] != Value("llama"))
    return refused(absl::StrCat("config.json: model_type is ", to_json(config["model_type"], -1),
                                ", and the exporter knows pmx's llama; export with use = "
                                "\"huggingface\""));
  Value::Table params;
  constexpr std::pair<const char*, const char*> kKeys[] = {
      {"hidden_dim", "hidden_size"},       {"num_heads", "num_attention_heads"},
      {"num_layers", "num_hidden_layers"}, {"norm_eps", "rms_norm_eps"},
      {"vocab_size", "vocab_size"},        {"intermediate_dim", "intermediate_size"}};
  for (const auto& [key, own] : kKeys) {
    if (!config.has(own))
      return refused(absl::StrCat("config.json has no ", own, ", which opmx_params.json needs"));
    params[key] = config[own];
  }
  params["num_kv_heads"] = config.has("num_key_value_heads") ? config["num_key_value_heads"]
                                                             : config["num_attention_heads"];
  SWAGE_ASSIGN_OR_RETURN(params["head_dim"], head_dim_of(config));
  const Value& rope = config.has("rope_theta") ? config : config["rope_parameters"];
  if (rope.has("rope_theta")) params["rope_theta"] = rope["rope_theta"];
  if (config.has("max_position_embeddings"))
    params["max_position_embeddings"] = config["max_position_embeddings"];
  return Value(std::move(params));
}

absl::StatusOr<Value> opmx_names(const Value& config, const std::vector<std::string>& tensors) {
  Value::Table names;
  for (const std::string& tensor : tensors) {
    if (absl::EndsWith(tensor, ".inv_freq")) continue;
    const std::string name = pmx_name(tensor);
    const bool bias = absl::EndsWith(tensor, ".bias");
    if (name.empty() || bias)
      return refused(absl::StrCat(tensor,
                                  " is there, and pmx's llama has no such tensor; export "
                                  "with use = \"huggingface\""));
    names[name] = tensor;
  }
  const bool tied = config.flag("tie_word_embeddings", false) || names.count("output.weight") == 0;
  if (tied) names["output.weight"] = kEnds[0].first;
  return Value(std::move(names));
}

}  // namespace swage::ppl
