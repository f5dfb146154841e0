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
#include "core/engine/opened_model.h"
#include "core/engine/shape_source.h"
#include "core/engine/source_header.h"
#include "core/engine/verbs/verbs.h"
#include "swage/io/checkpoint.h"
#include "swage/io/gguf_header.h"
#include "swage/status.h"

namespace swage {
namespace {

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

absl::StatusOr<std::string> sizes_text(const std::string& path, const ModelSummary& summary) {
  SWAGE_ASSIGN_OR_RETURN(const auto sizes, stored_sizes(path, summary));
  int64_t bytes = 0;
  std::vector<std::string> types;
  for (const auto& [type, size] : sizes) {
    bytes += size.bytes;
    types.push_back(absl::StrCat(type, " ", bytes_to_text(size.bytes), " in ", size.tensors,
                                 size.tensors == 1 ? " tensor" : " tensors"));
  }
  return absl::StrCat(bytes_to_text(bytes), ": ", absl::StrJoin(types, ", "));
}

absl::Status print_model(const OpenedModel& model, const ModelSummary& summary) {
  const std::string& path = model.checkpoint().path();
  SWAGE_ASSIGN_OR_RETURN(const std::string sizes, sizes_text(path, summary));
  std::vector<std::string> towers;
  for (const Tower& tower : model.shape().towers)
    towers.push_back(absl::StrCat(tower.name, " (", tower.block_count, " blocks)"));
  absl::PrintF("%s\n", path);
  print_line("adapter", adapter_line(model.rules().adapter));
  if (model.rules().language) print_line("language", adapter_line(*model.rules().language));
  if (model.quantized()) print_line("compressed", model.form().name);
  print_line("architecture", architectures(model.checkpoint().config()));
  if (!model.quantized()) print_line("parameters", absl::StrCat(summary.parameters));
  print_line("size", sizes);
  print_line("vocabulary", absl::StrCat(model.shape().vocab_size));
  print_line("context", absl::StrCat(model.shape().context_length));
  print_line("hidden size", absl::StrCat(model.shape().hidden_size));
  print_line("embeddings", model.shape().tied_embeddings ? "tied: the head's weight is theirs"
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
                        linear.result() ? ", " + describe(linear.result()->scheme) : "",
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

// Weights of a compressed checkpoint are read, since only they say what they are; of one in floats
// nothing is.
absl::StatusOr<std::shared_ptr<Block>> load_block(const OpenedModel& model,
                                                  const ShapeSource& shapes, const BlockId& id) {
  if (model.quantized()) return model.load_block(id);
  SWAGE_ASSIGN_OR_RETURN(std::shared_ptr<Block> block, model.load_shapes(id, shapes));
  return block;
}

absl::Status print_tower(const OpenedModel& model, const ShapeSource& shapes,
                         const io::Header& header, const Tower& tower) {
  if (tower.block_count == 0) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(auto block, load_block(model, shapes, {tower.name, 0}));
  const std::string prefix = numbered_prefix(tensor_names(*block), 0);
  for (const auto& alike : alike_blocks(header, prefix, tower.block_count)) {
    const int64_t index = alike.front();
    if (index != 0) {
      block.reset();  // one at a time
      SWAGE_ASSIGN_OR_RETURN(block, load_block(model, shapes, {tower.name, index}));
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

// What the ledger refuses: a run would say the same.
void print_problems(const OpenedModel& model) {
  const absl::Status status = model.check_whole();
  if (status.ok()) return;
  absl::PrintF("\n%s would refuse this checkpoint: %s\n",
               model.quantized() ? "eval and forward" : "a run", status.message());
}

// Compressed by something that nothing here reads: what it holds.
absl::Status print_unread(const io::Checkpoint& checkpoint, const io::Header& header,
                          const StoredForm& form) {
  SWAGE_ASSIGN_OR_RETURN(const std::string sizes,
                         sizes_text(checkpoint.path(), summarize(header, {})));
  absl::PrintF("%s\n", checkpoint.path());
  print_line("compressed", form.name);
  print_line("architecture", architectures(checkpoint.config()));
  print_line("size", sizes);
  absl::PrintF("\nswage does not read this form: start from the original\n");
  return absl::OkStatus();
}

}  // namespace

absl::Status inspect(const Arguments& arguments) {
  const Catalog catalog = Catalog::scan(plugin_search_path(arguments.plugin_path, {}));
  Loader loader(catalog);
  {
    SWAGE_ASSIGN_OR_RETURN(const auto checkpoint, io::open_checkpoint(arguments.target));
    SWAGE_ASSIGN_OR_RETURN(const io::Header header, header_of(checkpoint->weights()));
    const StoredForm form = stored_form(checkpoint->config(), header);
    if (form.compressed && !catalog.find_reader(form.method).ok())
      return print_unread(*checkpoint, header, form);
  }
  SWAGE_ASSIGN_OR_RETURN(
      const OpenedModel model,
      OpenedModel::open(arguments.target, catalog, loader, {}, OpenedModel::Compare::kSampled));
  const WeightSource& weights = model.checkpoint().weights();
  SWAGE_ASSIGN_OR_RETURN(const io::Header header, header_of(weights));
  const io::Header& seen = model.quantized() ? header : model.header();
  const ModelSummary summary = summarize(seen, model.rules().manifest);
  SWAGE_RETURN_IF_ERROR(print_model(model, summary));
  SWAGE_ASSIGN_OR_RETURN(const auto shapes, ShapeSource::create(header));
  for (const Tower& tower : model.shape().towers) {
    const absl::Status status = print_tower(model, *shapes, seen, tower);
    if (!status.ok() && model.check_whole().ok()) return status;  // else the ledger says it below
  }
  if (!summary.linears.empty() && !model.quantized()) print_schemes(summary);
  if (!model.ledger().carried.empty())
    absl::PrintF("\ncarried into exports unchanged: %s\n", carried_text(model.ledger()));
  print_problems(model);
  return absl::OkStatus();
}

}  // namespace swage
