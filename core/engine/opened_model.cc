#include "core/engine/opened_model.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/engine/decoded_source.h"
#include "core/engine/source_header.h"
#include "core/load/adapter.h"
#include "swage/border.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr const char* kQuantizationKey = "quantization_config";

// Numbers of draft layers.
constexpr const char* kDraftKeys[] = {"num_nextn_predict_layers", "num_mtp_layers"};

Value without_quantization(const Value& config) {
  Value::Table table = *config.table();
  table.erase(kQuantizationKey);
  return Value(std::move(table));
}

Params default_params(const ComponentManifest& component) {
  Value::Table values;
  for (const ParamManifest& param : component.params) values[param.name] = param.default_value;
  return Params(std::move(values));
}

// Makes what a plugin returns, inside the border.
template <class T, class Call>
absl::StatusOr<T> load(const std::string& adapter, const std::string& phase, const Call& call) {
  absl::StatusOr<T> made = absl::InternalError("nothing was made");
  SWAGE_RETURN_IF_ERROR(guarded({adapter, phase}, [&] {
    made = call();
    return made.status();
  }));
  return made;
}

}  // namespace

absl::StatusOr<OpenedModel> OpenedModel::open(const std::string& path, const Catalog& catalog,
                                              Loader& loader, const LoadOptions& options) {
  SWAGE_ASSIGN_OR_RETURN(const auto checkpoint, io::open_checkpoint(path));
  const Value& quantization = checkpoint->config()[kQuantizationKey];
  std::shared_ptr<Exporter> reader;
  if (!quantization.is_null()) {
    const std::string method = quantization.str("quant_method", "");
    SWAGE_ASSIGN_OR_RETURN(const Catalog::Found found, catalog.find_reader(method));
    SWAGE_ASSIGN_OR_RETURN(
        reader, loader.exporter(found.component->name, default_params(*found.component)));
  }
  return open_with(path, catalog, loader, options, std::move(reader));
}

absl::StatusOr<OpenedModel> OpenedModel::open_with(const std::string& path, const Catalog& catalog,
                                                   Loader& loader, const LoadOptions& options,
                                                   std::shared_ptr<Exporter> reader) {
  OpenedModel model;
  model.options_ = options;
  SWAGE_ASSIGN_OR_RETURN(model.checkpoint_, io::open_checkpoint(path));
  // Where config.json is the language model's too, the rules hand it on: without what the reader
  // serves.
  Value config = model.checkpoint_->config();
  if (reader != nullptr) config = without_quantization(config);
  SWAGE_ASSIGN_OR_RETURN(const AdapterRules rules,
                         adapter_rules(catalog, config, model.checkpoint_->weights().names()));
  model.adapter_name_ = rules.adapter.component->name;
  model.adapter_build_ = rules.adapter.plugin->build_id;
  if (rules.language) absl::StrAppend(&model.adapter_build_, " ", rules.language->plugin->build_id);
  model.language_key_ = rules.manifest.language;
  model.reader_ = std::move(reader);
  if (model.reader_ != nullptr) {
    model.decoded_ = decoded_source(*model.checkpoint_, *model.reader_, rules.manifest.linears);
  } else {
    SWAGE_ASSIGN_OR_RETURN(const io::Header header, header_of(model.checkpoint_->weights()));
    SWAGE_ASSIGN_OR_RETURN(const io::Header adapted,
                           adapted_header(header, config, rules.manifest));
    model.draft_tensors_ = static_cast<int64_t>(header.size() - adapted.size());
    auto outline = outline_model(adapted, rules.manifest);
    if (!outline.ok()) return annotate(outline.status(), path);
    model.outline_ = *std::move(outline);
  }
  model.export_config_ = model.checkpoint_->config();
  for (const char* key : kDraftKeys) {
    if (model.draft_tensors_ > 0 && model.export_config_.has(key))
      (*model.export_config_.table())[key] = int64_t{0};
  }
  auto adapter = open_adapter(loader, rules, config);
  if (!adapter.ok()) return with_exit_code(annotate(adapter.status(), path), ExitCode::kInput);
  model.adapter_ = *std::move(adapter);
  return model;
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
  return load<std::unique_ptr<Embedding>>(adapter_name_, "load the embedding", [&] {
    return adapter_->load_embedding(tower, source, options_);
  });
}

absl::StatusOr<std::unique_ptr<Head>> OpenedModel::load_head() const {
  const WeightSource& source = decoded_ ? *decoded_ : checkpoint_->weights();
  return load<std::unique_ptr<Head>>(adapter_name_, "load the head",
                                     [&] { return adapter_->load_head(source, options_); });
}

absl::StatusOr<std::unique_ptr<Block>> OpenedModel::load_block(const BlockId& id) const {
  const WeightSource& source = decoded_ ? *decoded_ : checkpoint_->weights();
  SWAGE_ASSIGN_OR_RETURN(auto block, load<std::unique_ptr<Block>>(
                                         adapter_name_, absl::StrCat("load ", text_of(id)), [&] {
                                           return adapter_->load_block(id, source, options_);
                                         }));
  if (reader_ != nullptr) SWAGE_RETURN_IF_ERROR(set_results(*block));
  const auto& towers = compressed_towers_;
  if (std::count(towers.begin(), towers.end(), id.tower) == 0) {
    for (Linear& linear : block->linears()) {
      if (linear.kept_by.empty()) linear.kept_by = tower_rule(id.tower);
    }
  }
  return block;
}

absl::Status OpenedModel::set_results(Block& block) const {
  for (Linear& linear : block.linears()) {
    SWAGE_ASSIGN_OR_RETURN(std::optional<CompressedLinear> result,
                           decode_linear(*reader_, linear.name, *checkpoint_));
    if (result) SWAGE_RETURN_IF_ERROR(linear.set_result(*std::move(result)));
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
        adapter_name_, "picture processor", [&] { return adapter_->load_processor(config); });
  }
  return absl::InvalidArgumentError(
      absl::StrCat(checkpoint_->path(), ": holds no preprocessor_config.json; pictures need one"));
}

absl::StatusOr<std::unique_ptr<text::Tokenizer>> OpenedModel::tokenizer() const {
  SWAGE_ASSIGN_OR_RETURN(const auto files, checkpoint_->side_files());
  const auto content = [&](std::string_view wanted) -> std::string_view {
    for (const auto& [name, text] : files) {
      if (name == wanted) return text;
    }
    return "";
  };
  const std::string_view file = content("tokenizer.json"), model = content("tokenizer.model"),
                         config = content("tokenizer_config.json");
  if (file.empty() && model.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint_->path(),
        ": holds neither tokenizer.json nor tokenizer.model; text needs one (token ids as .json "
        "do not)",
        content("merges.txt").empty() ? ""
                                      : "; make tokenizer.json of vocab.json and merges.txt with "
                                        "AutoTokenizer.from_pretrained(…).save_pretrained(…)"));
  }
  auto made = file.empty() ? text::Tokenizer::create_from_sentencepiece(model, config)
                           : text::Tokenizer::create(file, config);
  if (!made.ok()) return annotate(made.status(), checkpoint_->path());
  return made;
}

absl::StatusOr<text::ChatTemplate> OpenedModel::chat_template() const {
  SWAGE_ASSIGN_OR_RETURN(const auto files, checkpoint_->side_files());
  return text::ChatTemplate::from_files(files, checkpoint_->path());
}

std::string text_of(const BlockId& id) {
  return id.tower == "language" ? absl::StrCat("block ", id.index)
                                : absl::StrCat(id.tower, " block ", id.index);
}

}  // namespace swage
