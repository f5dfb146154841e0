#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/bytes.h"
#include "core/catalog/catalog.h"
#include "core/config/model_check.h"
#include "core/config/model_summary.h"
#include "core/engine/source_header.h"
#include "core/engine/verbs/verbs.h"
#include "core/load/adapter.h"
#include "swage/border.h"
#include "swage/io/checkpoint.h"
#include "swage/io/gguf_header.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr size_t kShownTensors = 20;

// A model as its adapter sees it.
struct OpenModel {
  std::unique_ptr<io::Checkpoint> checkpoint;
  io::Header header;
  size_t drafts = 0;  // tensors of draft layers, which are not read
  AdapterRules rules;
  std::shared_ptr<ModelAdapter> adapter;
  ModelShape shape;
};

absl::StatusOr<OpenModel> open_model(const std::string& path, const Catalog& catalog,
                                     Loader& loader) {
  OpenModel model;
  SWAGE_ASSIGN_OR_RETURN(model.checkpoint, io::open_checkpoint(path));
  SWAGE_ASSIGN_OR_RETURN(const io::Header header, header_of(model.checkpoint->weights()));
  const Value& config = model.checkpoint->config();
  SWAGE_ASSIGN_OR_RETURN(model.rules,
                         adapter_rules(catalog, config, model.checkpoint->weights().names()));
  SWAGE_ASSIGN_OR_RETURN(model.header, adapted_header(header, config, model.rules.manifest));
  model.drafts = header.size() - model.header.size();
  SWAGE_ASSIGN_OR_RETURN(model.adapter, open_adapter(loader, model.rules, config));
  model.shape = model.adapter->shape();
  return model;
}

absl::StatusOr<std::unique_ptr<Block>> load_block(const OpenModel& model, const BlockId& id) {
  std::unique_ptr<Block> block;
  const std::string phase = absl::StrCat("load_block ", id.tower, " ", id.index);
  SWAGE_RETURN_IF_ERROR(guarded({model.rules.manifest.name, phase}, [&]() -> absl::Status {
    SWAGE_ASSIGN_OR_RETURN(block, model.adapter->load_block(id, model.checkpoint->weights(), {}));
    return absl::OkStatus();
  }));
  return block;
}

void print_line(const char* what, const std::string& text) {
  if (!text.empty()) absl::PrintF("  %-14s %s\n", what, text);
}

std::string adapter_line(const Catalog::Found& found) {
  const Manifest& plugin = found.plugin->manifest;
  return absl::StrCat(found.component->name, " of plugin ", plugin.id, " ", plugin.version);
}

std::string architectures(const Value& config) {
  std::vector<std::string> names;
  if (const Value::List* list = config["architectures"].list()) {
    for (const Value& item : *list) {
      if (item.text() != nullptr) names.push_back(*item.text());
    }
  }
  return names.empty() ? config.str("model_type", "") : absl::StrJoin(names, ", ");
}

// By the types of the file; those of GGUF are finer than what its tensors are handed out in.
absl::StatusOr<std::map<std::string, ModelSummary::Size>> stored_sizes(
    const std::string& path, const ModelSummary& summary) {
  if (!std::filesystem::is_regular_file(path)) return summary.types;
  SWAGE_ASSIGN_OR_RETURN(const io::GgufFile file, io::read_gguf(path));
  std::map<std::string, ModelSummary::Size> sizes;
  for (const auto& [name, tensor] : file.tensors) {
    ModelSummary::Size& size = sizes[io::gguf_type_name(tensor.type)];
    size.tensors += 1;
    size.bytes += tensor.end - tensor.begin;
  }
  return sizes;
}

absl::Status print_model(const OpenModel& model, const ModelSummary& summary) {
  const std::string& path = model.checkpoint->path();
  SWAGE_ASSIGN_OR_RETURN(const auto sizes, stored_sizes(path, summary));
  int64_t bytes = 0;
  std::vector<std::string> types, towers;
  for (const auto& [type, size] : sizes) {
    bytes += size.bytes;
    types.push_back(absl::StrCat(type, " ", bytes_to_text(size.bytes), " in ", size.tensors,
                                 size.tensors == 1 ? " tensor" : " tensors"));
  }
  for (const Tower& tower : model.shape.towers)
    towers.push_back(absl::StrCat(tower.name, " (", tower.block_count, " blocks)"));
  absl::PrintF("%s\n", path);
  print_line("adapter", adapter_line(model.rules.adapter));
  if (model.rules.language) print_line("language", adapter_line(*model.rules.language));
  print_line("architecture", architectures(model.checkpoint->config()));
  print_line("parameters", absl::StrCat(summary.parameters));
  print_line("size", absl::StrCat(bytes_to_text(bytes), ": ", absl::StrJoin(types, ", ")));
  print_line("vocabulary", absl::StrCat(model.shape.vocab_size));
  print_line("context", absl::StrCat(model.shape.context_length));
  print_line("hidden size", absl::StrCat(model.shape.hidden_size));
  print_line("embeddings", model.shape.tied_embeddings ? "tied: the head's weight is theirs"
                                                       : "apart from the head's weight");
  print_line("towers", absl::StrJoin(towers, ", "));
  return absl::OkStatus();
}

// Names without what all tensors of the block begin with.
class BlockPrinter {
 public:
  BlockPrinter(Block& block, std::string prefix) : block_(block), prefix_(std::move(prefix)) {}

  void print() {
    std::set<const Linear*> shown;
    for (const Subset& subset : block_.subsets()) {
      print(subset);
      shown.insert(subset.linears.begin(), subset.linears.end());
    }
    std::vector<std::string> others;
    for (const Linear& linear : block_.linears()) {
      if (shown.count(&linear) == 0) others.push_back(text(linear));
    }
    for (const Parameter& parameter : block_.parameters())
      others.push_back(absl::StrCat(relative(parameter.name), " ", shape(parameter.value)));
    if (!others.empty()) absl::PrintF("  others         %s\n", absl::StrJoin(others, ", "));
  }

 private:
  std::string relative(const std::string& name) const {
    return absl::StartsWith(name, prefix_) ? name.substr(prefix_.size()) : name;
  }

  static std::string shape(const at::Tensor& tensor) {
    return absl::StrCat("[", absl::StrJoin(tensor.sizes(), ", "), "]");
  }

  std::string text(const Linear& linear) const {
    return absl::StrCat(relative(linear.name), " ", shape(linear.weight),
                        linear.bias.defined() ? " with bias" : "",
                        linear.kept_by.empty() ? "" : absl::StrCat(", kept: ", linear.kept_by));
  }

  std::string fold(const FoldTarget& target) const {
    switch (target.kind) {
      case FoldTarget::Kind::kNorm:
        return absl::StrCat("norm ", relative(target.norm_weight->name),
                            target.norm_offset ? ", which multiplies by 1 + weight" : "");
      case FoldTarget::Kind::kLinearRows: {
        const at::Tensor rows = target.row_of_channel.cpu().contiguous();
        const int64_t* row = rows.const_data_ptr<int64_t>();
        const auto distinct =
            static_cast<int64_t>(std::set<int64_t>(row, row + rows.numel()).size());
        return absl::StrCat("rows of ", relative(target.linear->name),
                            distinct == rows.numel()
                                ? ""
                                : absl::StrCat(", ", distinct, " for ", rows.numel(), " channels"));
      }
      case FoldTarget::Kind::kNone:
        break;
    }
    return absl::StrCat("nowhere",
                        target.why_none.empty() ? "" : absl::StrCat(": ", target.why_none));
  }

  void print(const Subset& subset) const {
    absl::PrintF("  %s\n", subset.name);
    for (const Linear* linear : subset.linears) absl::PrintF("    %s\n", text(*linear));
    for (const Linear* reader : subset.readers)
      absl::PrintF("    %s, which only follows a fold\n", text(*reader));
    if (!subset.parts.empty())
      absl::PrintF("    experts        %d, each by the tokens that reach it\n",
                   subset.parts.size());
    if (!subset.route.empty())
      absl::PrintF("    tokens         those with %d in %s\n", subset.route.expert,
                   subset.route.slot);
    absl::PrintF("    folds into     %s\n", fold(subset.fold));
    absl::PrintF("    a search sees  %s\n",
                 subset.inspect_module ? "the output of the module" : "the outputs of the linears");
  }

  Block& block_;
  const std::string prefix_;
};

std::vector<std::string> tensor_names(Block& block) {
  std::vector<std::string> names;
  for (const Linear& linear : block.linears()) names.push_back(linear.name + ".weight");
  for (const Parameter& parameter : block.parameters()) names.push_back(parameter.name);
  return names;
}

absl::Status print_tower(const OpenModel& model, const Tower& tower) {
  if (tower.block_count == 0) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(std::unique_ptr<Block> block, load_block(model, {tower.name, 0}));
  const std::string prefix = numbered_prefix(tensor_names(*block), 0);
  for (const auto& alike : alike_blocks(model.header, prefix, tower.block_count)) {
    const int64_t index = alike.front();
    if (index != 0) {
      block.reset();  // one at a time
      SWAGE_ASSIGN_OR_RETURN(block, load_block(model, {tower.name, index}));
    }
    // Later blocks of a tower may lie elsewhere (Llama 3.2 Vision's global ones).
    const std::string own = numbered_prefix(tensor_names(*block), index);
    absl::PrintF("\n%s, %s %s%s\n", tower.name, alike.size() == 1 ? "block" : "blocks",
                 ranges_text(alike), own.empty() ? "" : absl::StrCat(": ", own, "N"));
    BlockPrinter(*block, own.empty() ? "" : absl::StrCat(own, index, ".")).print();
  }
  return absl::OkStatus();
}

void print_schemes(const ModelSummary& summary) {
  const std::string title = absl::StrCat("all ", summary.linears.size(), " linears as");
  absl::PrintF("\n%-28sbits per weight  model\n", title);
  for (const SchemeWeight& weight : weigh_common_schemes(summary)) {
    absl::PrintF("  %-26s", describe(weight.scheme));
    if (weight.uneven == 0) {
      absl::PrintF("%15.3f  %s\n", weight.bits_per_weight, bytes_to_text(weight.bytes));
    } else {
      absl::PrintF("groups do not divide the input width %d\n", weight.uneven);
    }
  }
}

void print_uncovered(const std::vector<std::string>& names) {
  if (names.empty()) return;
  absl::PrintF("\n%d %s named by no rule of the adapter; a run would refuse this checkpoint\n",
               names.size(), names.size() == 1 ? "tensor is" : "tensors are");
  for (size_t i = 0; i < std::min(names.size(), kShownTensors); ++i)
    absl::PrintF("  %s\n", names[i]);
  if (names.size() > kShownTensors) absl::PrintF("  and %d more\n", names.size() - kShownTensors);
}

}  // namespace

absl::Status inspect(const Arguments& arguments) {
  const Catalog catalog = Catalog::scan(plugin_search_path(arguments.plugin_path, {}));
  Loader loader(catalog);
  SWAGE_ASSIGN_OR_RETURN(const OpenModel model, open_model(arguments.target, catalog, loader));
  const ModelSummary summary = summarize(model.header, model.rules.manifest);
  SWAGE_RETURN_IF_ERROR(print_model(model, summary));
  for (const Tower& tower : model.shape.towers) SWAGE_RETURN_IF_ERROR(print_tower(model, tower));
  if (!summary.linears.empty()) print_schemes(summary);
  if (model.drafts > 0)
    absl::PrintF("\n%d tensors of draft layers behind the last block are left out\n", model.drafts);
  print_uncovered(summary.uncovered);
  return absl::OkStatus();
}

}  // namespace swage
