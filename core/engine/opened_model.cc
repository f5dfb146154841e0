#include "core/engine/opened_model.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/engine/decoded_source.h"
#include "core/engine/end_block.h"
#include "core/engine/export_folder.h"
#include "core/engine/loaded_check.h"
#include "core/engine/shape_source.h"
#include "core/engine/source_header.h"
#include "core/load/adapter.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/io/fp8.h"
#include "swage/io/gguf.h"
#include "swage/io/stored_checkpoint.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr const char* kTieKey = "tie_word_embeddings";
constexpr int64_t kComparedRows = 4096;

// Numbers of draft layers.
constexpr const char* kDraftKeys[] = {"num_nextn_predict_layers", "num_mtp_layers"};

// Says that the head is no copy of the embedding, in config.json and the tables in it.
void untie(Value* config) {
  if (config->table() == nullptr) return;
  (*config->table())[kTieKey] = false;
  for (auto& [key, value] : *config->table()) {
    if (value.table() != nullptr && value.has(kTieKey)) (*value.table())[kTieKey] = false;
  }
}

// Row by row, a chunk at a time; of a sample, a few rows.
absl::StatusOr<bool> equal_tensors(const WeightSource& source, const std::string& a,
                                   const std::string& b, bool whole) {
  SWAGE_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, source.shape(a));
  SWAGE_ASSIGN_OR_RETURN(const std::vector<int64_t> other, source.shape(b));
  if (shape != other || shape.empty()) return shape == other;
  const int64_t rows = shape[0], step = whole ? kComparedRows : std::max<int64_t>(1, rows / 16);
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t end = std::min(rows, row + (whole ? step : 1));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor left, source.read_rows(a, row, end));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor right, source.read_rows(b, row, end));
    if (!left.to(at::kFloat).equal(right.to(at::kFloat))) return false;
  }
  return true;
}

absl::Status not_in_floats(const std::string& path, const std::string& problem) {
  return with_exit_code(absl::InvalidArgumentError(absl::StrCat(path, ": ", problem)),
                        ExitCode::kInput);
}

Params default_params(const ComponentManifest& component) {
  Value::Table values;
  for (const ParamManifest& param : component.params) values[param.name] = param.default_value;
  return Params(std::move(values));
}

absl::StatusOr<std::unique_ptr<io::Checkpoint>> open_stored(const std::string& path,
                                                            OpenedModel::Use use) {
  SWAGE_ASSIGN_OR_RETURN(auto checkpoint, io::open_checkpoint(path));
  if (use == OpenedModel::Use::kMeasure) return checkpoint;
  SWAGE_ASSIGN_OR_RETURN(const std::vector<std::string> gguf, io::gguf_files(path));
  return gguf.empty() ? std::move(checkpoint) : io::open_gguf(path, io::GgufView::kFloats);
}

// Makes what a plugin returns, inside the border, and checks it there.
template <class T, class Call, class Check>
absl::StatusOr<T> load(const std::string& adapter, const std::string& phase, const Call& call,
                       const Check& check) {
  absl::StatusOr<T> made = absl::InternalError("nothing was made");
  SWAGE_RETURN_IF_ERROR(call_plugin(adapter_site(adapter, phase), [&]() -> absl::Status {
    made = call();
    SWAGE_RETURN_IF_ERROR(made.status());
    return check(made->get());
  }));
  return made;
}

}  // namespace

absl::StatusOr<OpenedModel> OpenedModel::open(const std::string& path, const Catalog& catalog,
                                              Loader& loader, const LoadOptions& options,
                                              Compare compare, Use use) {
  if (use == Use::kMeasure) {
    SWAGE_ASSIGN_OR_RETURN(auto stored, io::open_stored_checkpoint(path));
    if (io::is_fp8(stored->config())) {
      auto served = open(std::move(stored), catalog, loader, options, compare);
      if (served.ok() && served->check_whole().ok() && !served->holds_fp8()) return served;
    }
  }
  SWAGE_ASSIGN_OR_RETURN(auto checkpoint, open_stored(path, use));
  return open(std::move(checkpoint), catalog, loader, options, compare);
}

absl::StatusOr<OpenedModel> OpenedModel::open(std::unique_ptr<io::Checkpoint> checkpoint,
                                              const Catalog& catalog, Loader& loader,
                                              const LoadOptions& options, Compare compare) {
  const std::string path = checkpoint->path();
  SWAGE_ASSIGN_OR_RETURN(io::Header header, header_of(checkpoint->weights()));
  const StoredForm form = stored_form(checkpoint->config(), header, catalog.form_signs());
  std::shared_ptr<Exporter> reader;
  if (form.compressed) {
    const auto found = catalog.find_reader(form.method);
    if (!found.ok()) return not_in_floats(path, form.problem);
    SWAGE_ASSIGN_OR_RETURN(
        reader, loader.exporter(found->component->name, default_params(*found->component)));
  } else if (!form.problem.empty()) {
    return not_in_floats(path, form.problem);
  }
  SWAGE_ASSIGN_OR_RETURN(OpenedModel model, assemble(std::move(checkpoint), catalog, loader,
                                                     options, std::move(reader)));
  model.form_ = form;
  model.header_ = std::move(header);
  DecodedHeader decoded;
  if (model.quantized()) {
    SWAGE_ASSIGN_OR_RETURN(decoded, decoded_header(*model.checkpoint_, *model.reader_,
                                                   model.decoded_modules(), model.header_));
    model.header_.swap(decoded.header);
  }
  SWAGE_RETURN_IF_ERROR(model.settle_head(loader, compare));
  SWAGE_RETURN_IF_ERROR(model.make_ledger(decoded.reported));
  if (model.quantized()) model.add_decoded(decoded);
  return model;
}

absl::StatusOr<OpenedModel> OpenedModel::open_with(const std::string& path, const Catalog& catalog,
                                                   Loader& loader, const LoadOptions& options,
                                                   std::shared_ptr<Exporter> reader) {
  SWAGE_ASSIGN_OR_RETURN(auto checkpoint, open_export(*reader, path));
  return assemble(std::move(checkpoint), catalog, loader, options, std::move(reader));
}

absl::StatusOr<OpenedModel> OpenedModel::assemble(std::unique_ptr<io::Checkpoint> checkpoint,
                                                  const Catalog& catalog, Loader& loader,
                                                  const LoadOptions& options,
                                                  std::shared_ptr<Exporter> reader) {
  OpenedModel model;
  model.options_ = options;
  model.checkpoint_ = std::move(checkpoint);
  model.reader_ = std::move(reader);
  // Where config.json is the language model's too, the rules hand it on: without what the reader
  // serves.
  Value config = model.checkpoint_->config();
  if (model.reader_ != nullptr) config = catalog.without_storage(config);
  SWAGE_RETURN_IF_ERROR(model.open_rules(catalog, config));
  model.export_config_ = config;
  SWAGE_RETURN_IF_ERROR(model.open_adapter(loader, config));
  if (model.reader_ == nullptr) return model;
  model.find_decoded_ends();
  model.decoded_ = decoded_source(*model.checkpoint_, *model.reader_, model.decoded_modules());
  return model;
}

bool OpenedModel::holds_fp8() const {
  return std::any_of(header_.begin(), header_.end(), [](const auto& tensor) {
    const io::StoredType type = tensor.second.type;
    return type == io::StoredType::kF8E4M3 || type == io::StoredType::kF8E5M2;
  });
}

// An end that is stored as floats alone is one in floats, even where a rule for all linears of the
// checkpoint would fit it too.
void OpenedModel::find_decoded_ends() {
  const auto module_of = [](const std::string& tensor) {
    return tensor.substr(0, tensor.rfind('.'));
  };
  // Some checkpoints leave out how the model begins: "wte" for "transformer.wte".
  const auto is = [](const std::string& module, const std::string& end) {
    return module == end || absl::EndsWith(end, absl::StrCat(".", module));
  };
  for (const std::string& tensor : checkpoint_->weights().names()) {
    // A module's parts are "module.part" or, of some forms, "module.weight.part".
    const std::string module =
        tensor.substr(0, std::min(tensor.find(".weight."), tensor.rfind('.')));
    if (tensor == module + ".weight" || tensor == module + ".bias") continue;
    if (is(module, module_of(shape().head))) decoded_ends_[LinearPlace::kHead] = module;
    if (is(module, module_of(shape().embedding))) decoded_ends_[LinearPlace::kEmbedding] = module;
  }
}

std::vector<std::string> OpenedModel::decoded_modules() const {
  std::vector<std::string> globs = rules_.manifest.linears;
  for (const auto& [place, module] : decoded_ends_) globs.push_back(module);
  return globs;
}

absl::Status OpenedModel::open_rules(const Catalog& catalog, const Value& config) {
  const WeightSource& weights = checkpoint_->weights();
  SWAGE_ASSIGN_OR_RETURN(rules_, adapter_rules(catalog, config, weights.names()));
  adapter_name_ = rules_.adapter.component->name;
  adapter_build_ = rules_.adapter.plugin->build_id;
  if (rules_.language) absl::StrAppend(&adapter_build_, " ", rules_.language->plugin->build_id);
  language_key_ = rules_.manifest.language;
  return absl::OkStatus();
}

absl::Status OpenedModel::open_adapter(Loader& loader, const Value& config) {
  const std::string& path = checkpoint_->path();
  auto adapter = swage::open_adapter(loader, rules_, config);
  if (!adapter.ok()) return with_exit_code(annotate(adapter.status(), path), ExitCode::kInput);
  adapter_ = *std::move(adapter);
  return settle_shape(config);
}

absl::Status OpenedModel::settle_shape(const Value& config) {
  const auto tensors = static_cast<int64_t>(checkpoint_->weights().names().size());
  return call_plugin(adapter_site(adapter_name_, "shape"), [&] {
    shape_ = adapter_->shape();
    return annotate(check_shape(shape_, tensors, config), checkpoint_->path());
  });
}

// As transformers does: a head of other values than the embedding that it should be tied to counts,
// whatever config.json says.
absl::Status OpenedModel::settle_head(Loader& loader, Compare compare) {
  const WeightSource& source = checkpoint_->weights();
  const std::string head = shape().head;
  if (!shape().tied_embeddings || !source.has(head)) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const std::string embedding,
                         embedding_of_head(*adapter_, adapter_name_, header_));
  if (embedding.empty()) return absl::OkStatus();
  if (embedding == head) {  // the file holds it in place of the embedding
    tied_head_ = head;
    return absl::OkStatus();
  }
  SWAGE_ASSIGN_OR_RETURN(const bool equal,
                         equal_tensors(source, head, embedding, compare == Compare::kWhole));
  if (equal) {
    tied_head_ = head;
    return absl::OkStatus();
  }
  untie(&export_config_);
  if (!language_key_.empty() && rules_.language) untie(&rules_.language_config);
  SWAGE_RETURN_IF_ERROR(open_adapter(loader, export_config_));
  if (!shape().tied_embeddings) return absl::OkStatus();
  return with_exit_code(
      absl::InvalidArgumentError(absl::StrCat(
          checkpoint_->path(), ": ", head, " has other values than ", embedding,
          ", to which this model's head is always tied; remove the one that does not count")),
      ExitCode::kInput);
}

absl::Status OpenedModel::make_ledger(const std::set<std::string>& reported) {
  LedgerRules rules;
  rules.reported = reported;
  rules.manifest = rules_.manifest;
  rules.also_placed = tied_head_;
  const Value& config = checkpoint_->config();
  const Value& language =
      language_key_.empty() || !config.has(language_key_) ? config : config[language_key_];
  for (const char* key : kDraftKeys) {
    if (const int64_t* const count = language[key].integer())
      rules.draft_layers = std::max(rules.draft_layers, *count);
  }
  SWAGE_ASSIGN_OR_RETURN(ledger_, account(*adapter_, adapter_name_, header_, rules));
  for (const auto& [tensor, rule] : ledger_.carried) header_.erase(tensor);
  outline_ = outline_model(header_, rules_.manifest);
  for (const ModelEnd& end : ledger_.ends)  // in this order
    outline_.ends.push_back({end.name, end.out, end.in, "", kLanguage});
  return absl::OkStatus();
}

// `decoded` has the header as it is stored.
void OpenedModel::add_decoded(const DecodedHeader& decoded) {
  std::vector<std::string>& faults = ledger_.unloadable;
  faults.insert(faults.begin(), decoded.faults.begin(), decoded.faults.end());
  ledger_.plugin_failed |= decoded.plugin_failed;
  held_ = decoded.linears;
  outline_.bytes = 0;
  for (const auto& [name, info] : decoded.header) outline_.bytes += info.end - info.begin;
}

absl::Status OpenedModel::check_whole() const {
  return ledger_.status(checkpoint_->path(), adapter_name_);
}

absl::Status OpenedModel::check_floats() const {
  if (!quantized()) return check_whole();
  return not_in_floats(checkpoint_->path(),
                       form_.problem +
                           ", measure it with `swage eval`, or let steps work on what it decodes "
                           "to ([model] start = \"decoded\")");
}

// Its parts, which no other format knows, would lie in exports as they are.
absl::Status OpenedModel::check_decoded() const {
  SWAGE_RETURN_IF_ERROR(check_whole());
  if (!quantized()) return absl::OkStatus();
  std::set<std::string> seen;
  for (const auto& [tensor, rule] : ledger_.carried) {
    const std::string module = tensor.substr(0, tensor.rfind('.'));
    if (!seen.insert(module).second) continue;
    const auto result = decode_linear(*reader_, module, *checkpoint_);
    if (result.ok() && !*result) continue;
    const auto type = checkpoint_->weights().dtype(module + ".weight");
    const bool floats = type.ok() && c10::isFloatingType(*type) && c10::elementSize(*type) > 1;
    if (!result.ok() && floats) continue;  // no matrix
    return not_in_floats(checkpoint_->path(),
                         absl::StrCat(module, " (", rule, ") is compressed with ", form_.name,
                                      ", and tensors that no step works on are carried into "
                                      "exports as they are; start from the original"));
  }
  return absl::OkStatus();
}

std::string OpenedModel::identity() const {
  std::string text = checkpoint_->identity() + " " + adapter_name_ + " " + adapter_build_;
  for (const std::string& linear : let_go_) absl::StrAppend(&text, " ", linear);
  return text;
}

absl::Status OpenedModel::compress(const std::vector<std::string>& towers) {
  for (const std::string& tower : towers) {
    std::vector<std::string> known;
    for (const Tower& one : shape().towers) known.push_back(one.name);
    if (std::count(known.begin(), known.end(), tower) > 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "[model] towers names \"", tower, "\"; the model has ", absl::StrJoin(known, ", ")));
  }
  compressed_towers_ = towers;
  keep_other_towers(towers, &outline_);
  for (size_t i = 0; i < ledger_.ends.size(); ++i)
    ledger_.ends[i].kept_by = outline_.ends[i].kept_by;
  return absl::OkStatus();
}

std::vector<BlockId> OpenedModel::blocks() const {
  std::vector<BlockId> all;
  for (const Tower& tower : shape().towers) {
    for (int64_t i = 0; i < tower.block_count; ++i) all.push_back({tower.name, i});
  }
  return all;
}

absl::StatusOr<std::unique_ptr<Embedding>> OpenedModel::load_embedding(
    const std::string& tower) const {
  const WeightSource& source = decoded_ ? *decoded_ : checkpoint_->weights();
  return load<std::unique_ptr<Embedding>>(
      adapter_name_, "load the embedding",
      [&] { return adapter_->load_embedding(tower, source, options_); },
      [&](Embedding* made) -> absl::Status {
        SWAGE_RETURN_IF_ERROR(check_embedding(made));
        if (tower == kLanguage) SWAGE_RETURN_IF_ERROR(set_result(LinearPlace::kEmbedding, *made));
        return quantized() ? absl::OkStatus() : check_values({}, made->parameters(), source);
      });
}

absl::StatusOr<std::unique_ptr<Head>> OpenedModel::load_head() const {
  const WeightSource& source = decoded_ ? *decoded_ : checkpoint_->weights();
  return load<std::unique_ptr<Head>>(
      adapter_name_, "load the head", [&] { return adapter_->load_head(source, options_); },
      [&](Head* made) -> absl::Status {
        SWAGE_RETURN_IF_ERROR(check_head(made));
        SWAGE_RETURN_IF_ERROR(set_result(LinearPlace::kHead, *made));
        return quantized() ? absl::OkStatus() : check_values({}, made->parameters(), source);
      });
}

absl::StatusOr<std::shared_ptr<Block>> OpenedModel::load_block(const BlockId& id) const {
  const WeightSource& source = decoded_ ? *decoded_ : checkpoint_->weights();
  SWAGE_ASSIGN_OR_RETURN(auto made, load<std::unique_ptr<Block>>(
                                        adapter_name_, absl::StrCat("load ", text_of(id)),
                                        [&] { return adapter_->load_block(id, source, options_); },
                                        [&](Block* made) -> absl::Status {
                                          SWAGE_RETURN_IF_ERROR(check_block(made, id, options_));
                                          return quantized()
                                                     ? absl::OkStatus()
                                                     : check_values(made->linears(),
                                                                    made->parameters(), source);
                                        }));
  const std::shared_ptr<Block> block =
      shared_inside(std::move(made), adapter_site(adapter_name_, "destructor of a block"));
  if (reader_ != nullptr) SWAGE_RETURN_IF_ERROR(set_results(*block));
  const auto& towers = compressed_towers_;
  if (std::count(towers.begin(), towers.end(), id.tower) == 0) {
    for (Linear& linear : block->linears()) {
      if (linear.kept_by.empty()) linear.kept_by = tower_rule(id.tower);
    }
  }
  return block;
}

absl::StatusOr<std::unique_ptr<Block>> OpenedModel::load_shapes(const BlockId& id,
                                                                const ShapeSource& shapes) const {
  LoadOptions options;
  options.compute = shapes.common_dtype();
  return load<std::unique_ptr<Block>>(
      adapter_name_, absl::StrCat("load the shapes of ", text_of(id)),
      [&] { return adapter_->load_block(id, shapes, options); },
      [&](Block* made) { return check_block(made, id, options); });
}

template <class Part>
absl::Status OpenedModel::set_result(LinearPlace place, Part& part) const {
  const auto module = decoded_ends_.find(place);
  if (module == decoded_ends_.end() || let_go_.count(module->second) > 0) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(std::optional<Result> result,
                         decode_linear(*reader_, module->second, *checkpoint_));
  if (!result) return absl::OkStatus();
  Linear* const linear = part.linear();
  if (linear == nullptr)
    return plugin_fault(
        absl::StrCat(module->second, " is compressed, and the adapter makes no linear of it"));
  SWAGE_RETURN_IF_ERROR(check_end(*linear));
  SWAGE_RETURN_IF_ERROR(linear->set_result(*std::move(result)));
  linear->set_view(View::kCompressed);
  return absl::OkStatus();
}

const ModelEnd* OpenedModel::end(LinearPlace place) const {
  for (const ModelEnd& end : ledger_.ends) {
    if (end.place == place) return &end;
  }
  return nullptr;
}

const ModelEnd* OpenedModel::end_of(const std::string& tensor) const {
  for (const ModelEnd& end : ledger_.ends) {
    if (end.why_not.empty() && tensor == end.name + ".weight") return &end;
  }
  return nullptr;
}

absl::StatusOr<bool> OpenedModel::can_untie(Loader& loader) const {
  AdapterRules rules = rules_;
  Value config = export_config_;
  untie(&config);
  if (!language_key_.empty() && rules.language) untie(&rules.language_config);
  SWAGE_ASSIGN_OR_RETURN(const auto adapter, swage::open_adapter(loader, rules, config));
  bool tied = true;
  SWAGE_RETURN_IF_ERROR(call_plugin(adapter_site(adapter_name_, "shape"), [&] {
    tied = adapter->shape().tied_embeddings;
    return absl::OkStatus();
  }));
  return !tied;
}

absl::Status OpenedModel::set_results(Block& block) const {
  for (Linear& linear : block.linears()) {
    if (let_go_.count(linear.name) > 0) continue;
    SWAGE_ASSIGN_OR_RETURN(std::optional<Result> result,
                           decode_linear(*reader_, linear.name, *checkpoint_));
    if (!result) continue;
    if (result->provenance().empty()) result->set_provenance("as the checkpoint holds it");
    SWAGE_RETURN_IF_ERROR(linear.set_result(*std::move(result)));
  }
  block.set_view(View::kCompressed);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<image::Processor>> OpenedModel::picture_processor() const {
  SWAGE_ASSIGN_OR_RETURN(const auto files, checkpoint_->side_files());
  for (const auto& [name, content] : files) {
    if (name != "preprocessor_config.json") continue;
    SWAGE_ASSIGN_OR_RETURN(const Value config, parse_json(content, name));
    return load<std::unique_ptr<image::Processor>>(
        adapter_name_, "picture processor", [&] { return adapter_->load_processor(config); },
        [](const image::Processor* made) {
          return made != nullptr ? absl::OkStatus() : plugin_fault("null instead of a processor");
        });
  }
  return absl::InvalidArgumentError(
      absl::StrCat(checkpoint_->path(), ": holds no preprocessor_config.json; pictures need one"));
}

std::string text_of(const BlockId& id) {
  if (is_end(id)) return id.tower;
  return id.tower == "language" ? absl::StrCat("block ", id.index)
                                : absl::StrCat(id.tower, " block ", id.index);
}

}  // namespace swage
