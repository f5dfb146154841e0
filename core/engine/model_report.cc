#include "core/engine/model_report.h"

#include <filesystem>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/config/model_summary.h"
#include "core/engine/outcome.h"
#include "core/engine/scheme_weight.h"
#include "core/engine/shape_source.h"
#include "core/engine/source_header.h"
#include "swage/io/gguf_header.h"
#include "swage/status.h"

namespace swage {
namespace {

Value adapter_value(const Catalog::Found& found) {
  const Manifest& plugin = found.plugin->manifest;
  return Value(Value::Table{
      {"name", found.component->name}, {"plugin", plugin.id}, {"version", plugin.version}});
}

Value architectures(const Value& config) {
  Value::List names;
  if (const Value::List* list = config["architectures"].list()) {
    for (const Value& item : *list) {
      if (item.text() != nullptr) names.push_back(item);
    }
  }
  if (names.empty() && config["model_type"].text() != nullptr)
    names.push_back(config["model_type"]);
  return Value(std::move(names));
}

// By the types of the file; those of GGUF are finer than what its tensors are handed out in.
absl::StatusOr<std::map<std::string, ModelSummary::Size>> stored_sizes(
    const std::string& path, const ModelSummary& summary) {
  SWAGE_ASSIGN_OR_RETURN(const std::vector<std::string> gguf, io::gguf_files(path));
  if (gguf.empty()) return summary.types;
  SWAGE_ASSIGN_OR_RETURN(const io::GgufFile file, io::read_gguf(path));
  std::map<std::string, ModelSummary::Size> sizes;
  for (const auto& [name, tensor] : file.tensors) {
    ModelSummary::Size& size = sizes[io::gguf_type_name(tensor.type)];
    size.tensors += 1;
    size.bytes += tensor.end - tensor.begin;
  }
  return sizes;
}

absl::Status add_sizes(const std::string& path, const ModelSummary& summary, Value::Table* report) {
  SWAGE_ASSIGN_OR_RETURN(const auto sizes, stored_sizes(path, summary));
  int64_t bytes = 0;
  Value::List types;
  for (const auto& [type, size] : sizes) {
    bytes += size.bytes;
    types.push_back(
        Value(Value::Table{{"type", type}, {"tensors", size.tensors}, {"bytes", size.bytes}}));
  }
  (*report)["bytes"] = bytes;
  (*report)["types"] = Value(std::move(types));
  return absl::OkStatus();
}

Value shape_value(const at::Tensor& tensor) {
  Value::List sizes;
  for (const int64_t size : tensor.sizes()) sizes.push_back(size);
  return Value(std::move(sizes));
}

Value linear_value(const Linear& linear) {
  return Value(Value::Table{
      {"name", linear.name},
      {"shape", shape_value(linear.weight)},
      {"scheme", linear.result() ? Value(linear.result()->codec()->describe()) : Value()},
      {"bias", linear.bias.defined()},
      {"kept", linear.kept_by.empty() ? Value() : Value(linear.kept_by)}});
}

Value fold_value(const FoldTarget& target) {
  switch (target.kind) {
    case FoldTarget::Kind::kNorm:
      return Value(Value::Table{{"kind", "norm"},
                                {"name", target.norm_weight->name},
                                {"multiplies_by_one_plus_weight", target.norm_offset}});
    case FoldTarget::Kind::kLinearRows: {
      const at::Tensor rows = target.row_of_channel.cpu().contiguous();
      const int64_t* row = rows.const_data_ptr<int64_t>();
      const auto distinct = static_cast<int64_t>(std::set<int64_t>(row, row + rows.numel()).size());
      return Value(Value::Table{{"kind", "rows"},
                                {"name", target.linear->name},
                                {"rows", distinct},
                                {"channels", int64_t{rows.numel()}}});
    }
    case FoldTarget::Kind::kNone:
      break;
  }
  return Value(Value::Table{{"kind", "none"},
                            {"why", target.why_none.empty() ? Value() : Value(target.why_none)}});
}

template <class Linears>
Value::List linear_values(const Linears& linears) {
  Value::List all;
  for (const Linear* linear : linears) all.push_back(linear_value(*linear));
  return all;
}

Value subset_value(const Subset& subset) {
  Value::Table table = {{"name", subset.name},
                        {"linears", linear_values(subset.linears)},
                        {"readers", linear_values(subset.readers)},
                        {"experts", static_cast<int64_t>(subset.parts.size())},
                        {"folds_into", fold_value(subset.fold)},
                        {"search_sees", subset.inspect_module ? "module" : "linears"}};
  if (!subset.route.empty())
    table["route"] =
        Value(Value::Table{{"expert", subset.route.expert}, {"slot", subset.route.slot}});
  return Value(std::move(table));
}

std::vector<std::string> tensor_names(Block& block) {
  std::vector<std::string> names;
  for (const Linear& linear : block.linears()) names.push_back(linear.name + ".weight");
  for (const Parameter& parameter : block.parameters()) names.push_back(parameter.name);
  return names;
}

// Blocks that are alike, and one of them.
Value blocks_value(Block& block, const std::vector<int64_t>& alike) {
  std::set<const Linear*> shown;
  Value::List subsets, linears, parameters, indices(alike.begin(), alike.end());
  for (const Subset& subset : block.subsets()) {
    subsets.push_back(subset_value(subset));
    shown.insert(subset.linears.begin(), subset.linears.end());
  }
  for (const Linear& linear : block.linears()) {
    if (shown.count(&linear) == 0) linears.push_back(linear_value(linear));
  }
  for (const Parameter& parameter : block.parameters())
    parameters.push_back(
        Value(Value::Table{{"name", parameter.name}, {"shape", shape_value(parameter.value)}}));
  // Later blocks of a tower may lie elsewhere (Llama 3.2 Vision's global ones).
  return Value(Value::Table{{"indices", std::move(indices)},
                            {"prefix", numbered_prefix(tensor_names(block), alike.front())},
                            {"subsets", std::move(subsets)},
                            {"other_linears", std::move(linears)},
                            {"parameters", std::move(parameters)}});
}

// Weights of a compressed checkpoint are read, since only they say what they are; of one in floats
// nothing is.
absl::StatusOr<std::shared_ptr<Block>> load_block(const OpenedModel& model,
                                                  const ShapeSource& shapes, const BlockId& id) {
  if (model.quantized()) return model.load_block(id);
  SWAGE_ASSIGN_OR_RETURN(std::shared_ptr<Block> block, model.load_shapes(id, shapes));
  return block;
}

absl::Status add_blocks(const OpenedModel& model, const ShapeSource& shapes,
                        const io::Header& header, const Tower& tower, Value::List* all) {
  if (tower.block_count == 0) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(auto block, load_block(model, shapes, {tower.name, 0}));
  const std::string prefix = numbered_prefix(tensor_names(*block), 0);
  for (const auto& alike : alike_blocks(header, prefix, tower.block_count)) {
    const int64_t index = alike.front();
    if (index != 0) {
      block.reset();  // one at a time
      SWAGE_ASSIGN_OR_RETURN(block, load_block(model, shapes, {tower.name, index}));
    }
    all->push_back(blocks_value(*block, alike));
  }
  return absl::OkStatus();
}

// Of a compressed checkpoint, where only its values say what it is.
absl::StatusOr<Value> decoded_end(const OpenedModel& model, LinearPlace place) {
  if (place == LinearPlace::kHead) {
    SWAGE_ASSIGN_OR_RETURN(const auto head, model.load_head());
    return linear_value(*head->linear());
  }
  SWAGE_ASSIGN_OR_RETURN(const auto embedding, model.load_embedding(kLanguage));
  return linear_value(*embedding->linear());
}

// Embedding and head, as far as they are linears of their own that steps may compress.
absl::StatusOr<Value::List> ends_value(const OpenedModel& model) {
  Value::List ends;
  for (const ModelEnd& end : model.ledger().ends) {
    if (end.tied || !end.why_not.empty()) continue;
    if (model.holds_compressed(end.place)) {
      SWAGE_ASSIGN_OR_RETURN(Value value, decoded_end(model, end.place));
      ends.push_back(std::move(value));
      continue;
    }
    ends.push_back(Value(Value::Table{{"name", end.name},
                                      {"shape", Value::List{end.out, end.in}},
                                      {"scheme", Value()},
                                      {"bias", false},
                                      {"kept", end_rule(end.place)}}));
  }
  return ends;
}

absl::StatusOr<Value::List> towers_value(const OpenedModel& model, const io::Header& header,
                                         const io::Header& seen) {
  SWAGE_ASSIGN_OR_RETURN(const auto shapes, ShapeSource::create(header));
  Value::List towers;
  for (const Tower& tower : model.shape().towers) {
    Value::List alike;
    const absl::Status status = add_blocks(model, *shapes, seen, tower, &alike);
    if (!status.ok() && model.check_whole().ok()) return status;  // else the ledger says it
    towers.push_back(Value(Value::Table{{"name", tower.name},
                                        {"blocks", int64_t{tower.block_count}},
                                        {"alike", std::move(alike)}}));
  }
  return towers;
}

absl::StatusOr<Value> schemes_value(const ModelSummary& summary) {
  Value::List all;
  SWAGE_ASSIGN_OR_RETURN(const auto weights, weigh_common_schemes(summary));
  for (const SchemeWeight& weight : weights) {
    Value::Table entry = {{"scheme", weight.codec->describe()}};
    if (weight.uneven == 0) {
      entry["bits_per_weight"] = weight.bits_per_weight;
      entry["bytes"] = weight.bytes;
    } else {
      entry["does_not_divide"] = weight.uneven;
    }
    all.push_back(Value(std::move(entry)));
  }
  return Value(std::move(all));
}

void add_ledger(const OpenedModel& model, Value::Table* report) {
  Value::List carried, problems;
  for (const auto& [tensor, rule] : model.ledger().carried)
    carried.push_back(Value(Value::Table{{"tensor", tensor}, {"rule", rule}}));
  const absl::Status status = model.check_whole();
  if (!status.ok()) {
    for (absl::string_view line : absl::StrSplit(status.message(), '\n'))
      problems.push_back(std::string(line));
  }
  (*report)["carried"] = Value(std::move(carried));
  (*report)["problems"] = Value(std::move(problems));
}

}  // namespace

absl::StatusOr<Value> model_report(const OpenedModel& model) {
  SWAGE_ASSIGN_OR_RETURN(const io::Header header, header_of(model.checkpoint().weights()));
  const io::Header& seen = model.quantized() ? header : model.header();
  const ModelSummary summary = summarize(seen, model.rules().manifest);
  const std::string& path = model.checkpoint().path();
  const AdapterRules& rules = model.rules();
  Value::Table report = {
      {"ok", true},
      {"path", path},
      {"readable", true},
      {"adapter", adapter_value(rules.adapter)},
      {"language_adapter", rules.language ? adapter_value(*rules.language) : Value()},
      {"compressed", model.quantized() ? Value(model.form().name) : Value()},
      {"architectures", architectures(model.checkpoint().config())},
      {"parameters", model.quantized() ? Value() : Value(summary.parameters)},
      {"vocabulary", int64_t{model.shape().vocab_size}},
      {"context", int64_t{model.shape().context_length}},
      {"hidden_size", int64_t{model.shape().hidden_size}},
      {"tied_embeddings", model.shape().tied_embeddings},
      {"linears", static_cast<int64_t>(summary.linears.size())}};
  SWAGE_RETURN_IF_ERROR(add_sizes(path, summary, &report));
  SWAGE_ASSIGN_OR_RETURN(Value::List towers, towers_value(model, header, seen));
  report["towers"] = Value(std::move(towers));
  report["ends"] = Value::List();
  if (model.check_whole().ok()) {
    SWAGE_ASSIGN_OR_RETURN(report["ends"], ends_value(model));
  }
  report["schemes"] = Value(Value::List());
  if (!summary.linears.empty() && !model.quantized()) {
    SWAGE_ASSIGN_OR_RETURN(report["schemes"], schemes_value(summary));
  }
  add_ledger(model, &report);
  return Value(std::move(report));
}

absl::StatusOr<Value> unread_report(const io::Checkpoint& checkpoint, const io::Header& header,
                                    const StoredForm& form) {
  Value::Table report = {{"ok", true},
                         {"path", checkpoint.path()},
                         {"readable", false},
                         {"compressed", form.name},
                         {"architectures", architectures(checkpoint.config())}};
  SWAGE_RETURN_IF_ERROR(add_sizes(checkpoint.path(), summarize(header, {}), &report));
  return Value(std::move(report));
}

}  // namespace swage
