#include "mlc_model.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "swage/status.h"

namespace swage::mlc {
namespace {

struct Model {
  const char* type;
  const char* attention;  // what q, k and v are joined to
  bool biases;            // may q, k and v have biases?
};
constexpr Model kModels[] = {{"llama", "qkv_proj", false},
                             {"mistral", "qkv_proj", false},
                             {"qwen2", "c_attn", true},
                             {"qwen3", "c_attn", true}};
constexpr const char* kLinears[] = {".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj",
                                    ".self_attn.o_proj", ".mlp.gate_proj",    ".mlp.up_proj",
                                    ".mlp.down_proj"};

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::StatusOr<Model> model_of(const Value& config) {
  const std::string* const type = config["model_type"].text();
  std::string known;
  for (const Model& model : kModels) {
    if (type != nullptr && *type == model.type) return model;
    absl::StrAppend(&known, known.empty() ? "" : ", ", model.type);
  }
  return refused(absl::StrCat("config.json: model_type is ", to_json(config["model_type"], -1),
                              ", and the exporter knows MLC's models ", known,
                              "; export with use = \"awq\" or \"huggingface\""));
}

// The modules that MLC joins to one, in its order; empty: the module stays for itself.
struct Joint {
  std::string name;
  std::vector<std::string> members;
};

Joint joint_of(const std::string& module, const Model& model) {
  const auto joined = [&](absl::string_view parent, std::vector<const char*> members,
                          const char* name) {
    Joint joint{absl::StrCat(parent, name), {}};
    for (const char* member : members) joint.members.push_back(absl::StrCat(parent, member));
    return joint;
  };
  absl::string_view parent = module;
  for (const char* member : {"q_proj", "k_proj", "v_proj"}) {
    if (absl::ConsumeSuffix(&parent, absl::StrCat("self_attn.", member)))
      return joined(absl::StrCat(parent, "self_attn."), {"q_proj", "k_proj", "v_proj"},
                    model.attention);
  }
  for (const char* member : {"gate_proj", "up_proj"}) {
    if (absl::ConsumeSuffix(&parent, absl::StrCat("mlp.", member)))
      return joined(absl::StrCat(parent, "mlp."), {"gate_proj", "up_proj"}, "gate_up_proj");
  }
  return {};
}

bool is_attention_input(const std::string& module) {
  return std::any_of(std::begin(kLinears), std::begin(kLinears) + 3,
                     [&](const char* end) { return absl::EndsWith(module, end); });
}

absl::Status check_bias(const std::string& module, const Model& model) {
  if (model.biases && is_attention_input(module)) return absl::OkStatus();
  return refused(absl::StrCat(module, ".bias is there, and MLC's model ", model.type,
                              " has no such bias; export with use = \"huggingface\""));
}

// What a model of either spelling of transformers says of its positions, as MLC looks for it.
Value::Table with_positions(Value::Table config) {
  const Value rope = config["rope_parameters"];
  config.erase("rope_parameters");
  if (rope.table() == nullptr) return config;
  if (config.count("rope_theta") == 0 && rope.has("rope_theta"))
    config["rope_theta"] = rope["rope_theta"];
  if (rope.str("rope_type", "default") != "default") config["rope_scaling"] = rope;
  return config;
}

Value conversation(const Value& eos) {
  Value::List stops;
  if (eos.integer() != nullptr) stops.push_back(eos);
  if (eos.list() != nullptr) stops = *eos.list();
  const Value::List empty = {Value("")};
  return Value(Value::Table{{"name", "LM"},
                            {"system_template", "{system_message}"},
                            {"system_message", ""},
                            {"roles", Value::Table{{"user", ""}, {"assistant", ""}}},
                            {"role_templates", Value::Table{{"user", "{user_message}"},
                                                            {"assistant", "{assistant_message}"},
                                                            {"tool", "{tool_message}"}}},
                            {"messages", Value::List()},
                            {"seps", empty},
                            {"role_content_sep", ""},
                            {"role_empty_sep", ""},
                            {"stop_str", Value::List()},
                            {"stop_token_ids", std::move(stops)}});
}

}  // namespace

absl::Status check_name(const std::string& linear) {
  const bool known = std::any_of(std::begin(kLinears), std::end(kLinears),
                                 [&](const char* end) { return absl::EndsWith(linear, end); });
  const bool expert = absl::StrContains(linear, ".experts.");
  if (known && !expert && absl::StartsWith(linear, "model.layers.")) return absl::OkStatus();
  return refused(
      "the exporter knows MLC's models llama, mistral, qwen2 and qwen3, whose linears are "
      "model.layers.N.self_attn.{q,k,v,o}_proj and model.layers.N.mlp.{gate,up,down}_proj; export "
      "with use = \"awq\" or \"huggingface\"");
}

absl::StatusOr<std::vector<MlcParameter>> mlc_parameters(const Value& model_config,
                                                         const std::vector<std::string>& tensors) {
  SWAGE_ASSIGN_OR_RETURN(const Model model, model_of(model_config));
  const std::set<std::string> names(tensors.begin(), tensors.end());
  const bool tied = model_config.flag("tie_word_embeddings", false);
  std::vector<MlcParameter> parameters;
  std::set<std::string> done;
  for (const std::string& tensor : tensors) {
    const bool of_model =
        absl::StartsWith(tensor, "model.") || absl::StartsWith(tensor, "lm_head.");
    const bool unused = absl::EndsWith(tensor, ".inv_freq") || (tied && tensor == "lm_head.weight");
    if (!of_model || unused || done.count(tensor) != 0) continue;
    const size_t dot = tensor.rfind('.');
    const std::string module = tensor.substr(0, dot), part = tensor.substr(dot);
    if (part == ".bias") SWAGE_RETURN_IF_ERROR(check_bias(module, model));
    const Joint joint = joint_of(module, model);
    MlcParameter parameter{joint.name.empty() ? tensor : joint.name + part, {}};
    for (const std::string& member : joint.members) parameter.tensors.push_back(member + part);
    if (joint.members.empty()) parameter.tensors.push_back(tensor);
    for (const std::string& member : parameter.tensors) {
      if (names.count(member) == 0)
        return refused(absl::StrCat(member, " is missing, and ", tensor,
                                    " is there: MLC joins them to ", parameter.name));
      done.insert(member);
    }
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

Value chat_config(const Value& model_config, const Value& generation,
                  const std::vector<std::string>& side_files) {
  constexpr int64_t kGreatestChunk = 8192;
  Value::Table model = with_positions(*model_config.table());
  model.erase("quantization_config");
  int64_t context = model_config.i64("max_position_embeddings", 2048), window = -1, sink = -1;
  const int64_t chunk = std::min(context, kGreatestChunk);
  if (model_config["model_type"] == Value("mistral") &&
      model_config["sliding_window"].integer() != nullptr) {
    window = *model_config["sliding_window"].integer();
    context = -1;
    sink = 4;  // MLC's own
  }
  model["context_window_size"] = context;
  model["prefill_chunk_size"] = chunk;
  model["tensor_parallel_shards"] = 1;
  Value::List files;
  for (const char* name : {"tokenizer.model", "tokenizer.json", "vocab.json", "merges.txt",
                           "added_tokens.json", "tokenizer_config.json"})
    if (std::count(side_files.begin(), side_files.end(), name) != 0) files.emplace_back(name);
  Value::Table chat = {{"version", "0.1.0"},
                       {"model_type", model_config["model_type"]},
                       {"quantization", "q4f16_2"},
                       {"vocab_size", model_config["vocab_size"]},
                       {"context_window_size", context},
                       {"sliding_window_size", window},
                       {"prefill_chunk_size", chunk},
                       {"attention_sink_size", sink},
                       {"tensor_parallel_shards", 1},
                       {"pipeline_parallel_stages", 1},
                       {"presence_penalty", 0.0},
                       {"frequency_penalty", 0.0},
                       {"tokenizer_files", std::move(files)}};
  const std::pair<const char*, Value> kDefaults[] = {
      {"temperature", 1.0}, {"top_p", 1.0},      {"repetition_penalty", 1.0},
      {"pad_token_id", 0},  {"bos_token_id", 1}, {"eos_token_id", 2}};
  for (const auto& [key, otherwise] : kDefaults) {
    const Value& own = generation.has(key) ? generation[key] : model_config[key];
    chat[key] = own.is_null() ? otherwise : own;
  }
  chat["conv_template"] = conversation(chat["eos_token_id"]);
  chat["model_config"] = std::move(model);
  return Value(std::move(chat));
}

}  // namespace swage::mlc
