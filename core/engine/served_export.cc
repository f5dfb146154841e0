#include "core/engine/served_export.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/config/param_check.h"
#include "core/engine/config_keys.h"
#include "core/serve/check_served.h"

namespace swage {
namespace {

const char* name_of(at::ScalarType type) {
  if (type == at::kHalf) return "fp16";
  return type == at::kBFloat16 ? "bf16" : "fp32";
}

// Columns that share a level or are stored together: no device holds a part of them.
int64_t columns_together(const Codec& codec, int64_t in) {
  const int64_t group = codec.group_width(in);
  return std::max(codec.column_multiple(), group < in ? group : 1);
}

}  // namespace

ServedLinear served_linear(const LinearSummary& linear) {
  ServedLinear served;
  served.name = linear.name;
  served.out = linear.out;
  served.in = linear.in;
  served.is_head = linear.place == LinearPlace::kHead;
  served.is_embedding = linear.place == LinearPlace::kEmbedding;
  served.kept = !linear.kept_by.empty() || linear.weight == nullptr;
  if (served.kept) return served;
  served.weight = linear.weight->scheme();
  served.text = linear.weight->describe();
  served.form = linear.weight->form();
  served.columns_together = columns_together(*linear.weight, linear.in);
  if (served.weight.has("block_rows")) served.rows_together = served.weight.i64("block_rows");
  if (linear.activation) {
    served.activation = linear.activation->scheme();
    absl::StrAppend(&served.text, " with ", linear.activation->describe());
    absl::StrAppend(&served.form, " with ", linear.activation->form());
    const int64_t columns = columns_together(*linear.activation, linear.in);
    served.columns_together = std::max(served.columns_together, columns);
  }
  served.scale_type = name_of(linear.scale_dtype);
  served.transform = linear.may_transform_input;
  served.sides = linear.may_have_sides;
  served.mask = linear.may_have_mask;
  return served;
}

ServedModel served_model(const std::vector<LinearSummary>& planned, const Value& config) {
  ServedModel model;
  for (const LinearSummary& linear : planned) model.linears.push_back(served_linear(linear));
  model.heads = first_of(config, {"num_attention_heads", "n_head", "num_heads", "n_heads"});
  model.kv_heads = first_of(config, {"num_key_value_heads", "num_kv_heads", "n_head_kv"});
  if (model.kv_heads == 0)
    model.kv_heads =
        (config["multi_query"].boolean() != nullptr && *config["multi_query"].boolean())
            ? 1
            : model.heads;
  return model;
}

std::vector<std::string> serve_problems(const ServeSpec& serve, const std::string& use,
                                        const std::vector<LinearSummary>& planned,
                                        const OpenedModel& model) {
  const Value& config = model.export_config();
  const std::string& key = model.language_key();
  const ServedModel served = served_model(planned, key.empty() ? config : config[key]);
  std::vector<std::string> problems;
  for (const std::string& problem : check_served(*serve.engine, use, served, serve.serving))
    problems.push_back(absl::StrCat(serve.engine->engine, ": ", problem));
  return problems;
}

absl::Status check_serve(const ExportSpec& spec, const std::vector<LinearSummary>& planned,
                         const OpenedModel& model) {
  if (!spec.serve) return absl::OkStatus();
  Problems problems;
  for (const std::string& problem : serve_problems(*spec.serve, spec.use, planned, model))
    problems.add(spec.serve->where, absl::StrCat("export \"", spec.name, "\" for ", problem));
  return problems.status();
}

}  // namespace swage
