#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/catalog/adapter_rules.h"
#include "core/catalog/catalog.h"
#include "core/config/model_check.h"
#include "core/config/stored_form.h"
#include "core/engine/decoded_header.h"
#include "core/engine/ledger.h"
#include "core/load/loader.h"
#include "swage/exporter.h"
#include "swage/io/checkpoint.h"
#include "swage/model.h"
#include "swage/text/chat_template.h"
#include "swage/text/tokenizer.h"

namespace swage {

class ShapeSource;

// A checkpoint with the adapter that serves it: what every verb that computes starts from. A
// checkpoint that an exporter wrote is read through that exporter's decode(): its linears carry
// their results and compute with them.
class OpenedModel {
 public:
  // Whether a stored head that config.json ties to the embedding has values of its own is seen by
  // comparing some rows, or all.
  enum class Compare { kSampled, kWhole };
  // kDecoded: what is no compressed checkpoint by a config.json of its own, blocks of GGUF, is read
  // as floats.
  enum class Matrices { kAsStored, kDecoded };
  // Errors: no checkpoint, no adapter, no reader for its quantization_config, a key of config.json
  // that the adapter refuses.
  static absl::StatusOr<OpenedModel> open(const std::string& path, const Catalog& catalog,
                                          Loader& loader, const LoadOptions& options,
                                          Compare compare = Compare::kWhole,
                                          Matrices matrices = Matrices::kAsStored);
  // The checkpoint in `path` as `reader` decodes it, whatever its config says: verification.
  static absl::StatusOr<OpenedModel> open_with(const std::string& path, const Catalog& catalog,
                                               Loader& loader, const LoadOptions& options,
                                               std::shared_ptr<Exporter> reader);

  const io::Checkpoint& checkpoint() const { return *checkpoint_; }
  const std::string& adapter_name() const { return adapter_name_; }
  const ModelShape& shape() const { return shape_; }
  const LoadOptions& options() const { return options_; }
  const ModelOutline& outline() const { return outline_; }  // of a checkpoint in floats
  // config.json that exports start from.
  const Value& export_config() const { return export_config_; }
  // The key of config.json under which the language model's own lies; "" where it is the whole.
  const std::string& language_key() const { return language_key_; }
  bool quantized() const { return reader_ != nullptr; }
  const AdapterRules& rules() const { return rules_; }
  // Its tensors as the adapter sees them (those of compressed linears decoded), and what becomes of
  // each.
  const io::Header& header() const { return header_; }
  const Ledger& ledger() const { return ledger_; }
  // Embedding or head as a linear; null where the model tells of none.
  const ModelEnd* end(LinearPlace place) const;
  // The end that such a linear can be made of, whose matrix this tensor is; null: none.
  const ModelEnd* end_of(const std::string& tensor) const;
  // Does this compressed checkpoint hold that end compressed? It then comes with its result.
  bool holds_compressed(LinearPlace place) const { return decoded_ends_.count(place) > 0; }
  // May its head be stored apart from the embedding, and config.json say so?
  absl::StatusOr<bool> can_untie(Loader& loader) const;
  // Can it be passed through? InvalidArgument: tensors would be lost, parts are missing or have
  // another shape, linears do not decode.
  absl::Status check_whole() const;
  // May a run start from it? InvalidArgument: as above, or it is compressed already.
  absl::Status check_floats() const;
  const StoredForm& form() const { return form_; }

  // What a run records of the model, to notice that it changed: of checkpoint and adapter.
  std::string identity() const {
    return checkpoint_->identity() + " " + adapter_name_ + " " + adapter_build_;
  }
  std::vector<BlockId> blocks() const;  // in the order in which they run
  // Steps compress linears of these towers; blocks of all others come with their linears kept.
  // InvalidArgument: the model has no such tower.
  absl::Status compress(const std::vector<std::string>& towers);
  absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const std::string& tower) const;
  absl::StatusOr<std::shared_ptr<Block>> load_block(const BlockId& id) const;
  absl::StatusOr<std::unique_ptr<Head>> load_head() const;
  // A block of a checkpoint in floats with zeros for weights, at no cost: `shapes` is over
  // weights().
  absl::StatusOr<std::unique_ptr<Block>> load_shapes(const BlockId& id,
                                                     const ShapeSource& shapes) const;

  // What prepares pictures for this model, as preprocessor_config.json says. Errors: the model
  // reads no pictures; it has no such file.
  absl::StatusOr<std::unique_ptr<image::Processor>> picture_processor() const;
  absl::StatusOr<image::Inputs> prepare(image::Processor& processor, const at::Tensor& rgb) const;
  absl::StatusOr<std::string> picture_text(const image::Inputs& picture,
                                           const std::string& token) const;

  // InvalidArgument where the checkpoint has neither tokenizer.json nor tokenizer.model, or one
  // that is not supported.
  absl::StatusOr<std::unique_ptr<text::Tokenizer>> tokenizer() const;
  absl::StatusOr<text::ChatTemplate> chat_template() const;  // NotFound where there is none

 private:
  OpenedModel() = default;
  absl::Status set_results(Block& block) const;
  template <class Part>
  absl::Status set_result(LinearPlace place, Part& part) const;
  void find_decoded_ends();
  std::vector<std::string> decoded_modules() const;  // globs of what the reader is asked for
  static absl::StatusOr<OpenedModel> assemble(std::unique_ptr<io::Checkpoint> checkpoint,
                                              const Catalog& catalog, Loader& loader,
                                              const LoadOptions& options,
                                              std::shared_ptr<Exporter> reader);
  absl::Status open_rules(const Catalog& catalog, const Value& config);
  absl::Status open_adapter(Loader& loader, const Value& config);
  absl::Status settle_head(Loader& loader, Compare compare);
  absl::Status make_ledger(const std::set<std::string>& reported);
  void add_decoded(const DecodedHeader& decoded);
  absl::Status settle_shape(const Value& config);

  std::unique_ptr<io::Checkpoint> checkpoint_;
  std::string adapter_name_, adapter_build_, language_key_;
  std::shared_ptr<ModelAdapter> adapter_;
  ModelShape shape_;
  std::shared_ptr<Exporter> reader_;
  std::unique_ptr<WeightSource> decoded_;            // over checkpoint_ and reader_
  std::map<LinearPlace, std::string> decoded_ends_;  // modules that the reader decodes
  std::vector<std::string> compressed_towers_ = {kLanguage};
  AdapterRules rules_;
  StoredForm form_;
  io::Header header_;
  ModelOutline outline_;
  Ledger ledger_;
  Value export_config_;
  std::string tied_head_;  // stored, with the values of the embedding that it is tied to
  LoadOptions options_;
};

// "language block 3", for messages and progress.
std::string text_of(const BlockId& id);

}  // namespace swage
