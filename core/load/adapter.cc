#include "core/load/adapter.h"

#include <algorithm>
#include <stdexcept>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/key_log.h"
#include "swage/nn/features.h"
#include "swage/status.h"

namespace swage {
namespace {

// A checkpoint under the names that an adapter knows.
class SpelledSource final : public WeightSource {
 public:
  SpelledSource(const WeightSource& source, const Spelling& spelling)
      : source_(source), spelling_(spelling) {}
  std::vector<std::string> names() const override {
    std::vector<std::string> names = source_.names();
    for (std::string& name : names) name = spelling_.known(name);
    std::sort(names.begin(), names.end());
    return names;
  }
  bool has(std::string_view name) const override { return source_.has(spelling_.stored(name)); }
  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    return source_.shape(spelling_.stored(name));
  }
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    return source_.dtype(spelling_.stored(name));
  }
  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    return source_.read(spelling_.stored(name));
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    return source_.read_rows(spelling_.stored(name), begin, end);
  }

 private:
  const WeightSource& source_;
  const Spelling& spelling_;
};

// One adapter behind a spelling.
class SpelledAdapter final : public ModelAdapter {
 public:
  SpelledAdapter(std::shared_ptr<ModelAdapter> adapter, Spelling spelling)
      : adapter_(std::move(adapter)), spelling_(std::move(spelling)) {}

  absl::Status open(const Value& config) override {
    SWAGE_RETURN_IF_ERROR(adapter_->open(config));
    shape_ = adapter_->shape();
    shape_.head = spelling_.stored(shape_.head);
    shape_.embedding = spelling_.stored(shape_.embedding);
    return absl::OkStatus();
  }
  const ModelShape& shape() const override { return shape_; }

  absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const std::string& tower,
                                                            const WeightSource& source,
                                                            const LoadOptions& options) override {
    const SpelledSource spelled(source, spelling_);
    return renamed(adapter_->load_embedding(tower, spelled, options));
  }
  absl::StatusOr<std::unique_ptr<Block>> load_block(const BlockId& id, const WeightSource& source,
                                                    const LoadOptions& options) override {
    const SpelledSource spelled(source, spelling_);
    SWAGE_ASSIGN_OR_RETURN(auto block, renamed(adapter_->load_block(id, spelled, options)));
    for (Linear& linear : block->linears()) linear.name = spelling_.stored(linear.name);
    return block;
  }
  absl::StatusOr<std::unique_ptr<Head>> load_head(const WeightSource& source,
                                                  const LoadOptions& options) override {
    const SpelledSource spelled(source, spelling_);
    SWAGE_ASSIGN_OR_RETURN(auto head, renamed(adapter_->load_head(spelled, options)));
    head->matrix_name = spelling_.stored(head->matrix_name);
    return head;
  }
  absl::StatusOr<std::unique_ptr<image::Processor>> load_processor(
      const Value& config) const override {
    return adapter_->load_processor(config);
  }
  std::string picture_text(const image::Inputs& picture, const std::string& token) const override {
    return adapter_->picture_text(picture, token);
  }

 private:
  template <class Part>
  absl::StatusOr<std::unique_ptr<Part>> renamed(absl::StatusOr<std::unique_ptr<Part>> part) const {
    if (!part.ok()) return part;
    for (Parameter& parameter : (*part)->parameters())
      parameter.name = spelling_.stored(parameter.name);
    return part;
  }

  const std::shared_ptr<ModelAdapter> adapter_;
  const Spelling spelling_;
  ModelShape shape_;
};

// Towers of images from one adapter, the language tower from another.
class ComposedAdapter final : public ModelAdapter {
 public:
  ComposedAdapter(std::shared_ptr<ModelAdapter> vision, std::shared_ptr<ModelAdapter> language,
                  Value language_config)
      : vision_(std::move(vision)),
        language_(std::move(language)),
        language_config_(std::move(language_config)) {}

  absl::Status open(const Value& config) override {
    SWAGE_RETURN_IF_ERROR(vision_->open(config));
    SWAGE_RETURN_IF_ERROR(annotate(language_->open(language_config_), "the language model"));
    shape_ = language_->shape();
    shape_.image_token = vision_->shape().image_token;
    const std::vector<Tower>& before = vision_->shape().towers;
    shape_.towers.insert(shape_.towers.begin(), before.begin(), before.end());
    return absl::OkStatus();
  }
  const ModelShape& shape() const override { return shape_; }

  absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const std::string& tower,
                                                            const WeightSource& source,
                                                            const LoadOptions& options) override {
    if (tower != kLanguage) return vision_->load_embedding(tower, source, options);
    SWAGE_ASSIGN_OR_RETURN(auto embedding, language_->load_embedding(tower, source, options));
    return nn::with_features(std::move(embedding), shape_.image_token);
  }
  absl::StatusOr<std::unique_ptr<Block>> load_block(const BlockId& id, const WeightSource& source,
                                                    const LoadOptions& options) override {
    return (id.tower == kLanguage ? language_ : vision_)->load_block(id, source, options);
  }
  absl::StatusOr<std::unique_ptr<Head>> load_head(const WeightSource& source,
                                                  const LoadOptions& options) override {
    return language_->load_head(source, options);
  }
  absl::StatusOr<std::unique_ptr<image::Processor>> load_processor(
      const Value& config) const override {
    return vision_->load_processor(config);
  }
  std::string picture_text(const image::Inputs& picture, const std::string& token) const override {
    return vision_->picture_text(picture, token);
  }

 private:
  const std::shared_ptr<ModelAdapter> vision_, language_;
  const Value language_config_;
  ModelShape shape_;
};

absl::StatusOr<std::shared_ptr<ModelAdapter>> make(Loader& loader, const Catalog::Found& found,
                                                   const Spelling& spelling) {
  SWAGE_ASSIGN_OR_RETURN(auto adapter, loader.model(found.component->name));
  if (spelling.empty()) return adapter;
  return std::shared_ptr<ModelAdapter>(
      std::make_shared<SpelledAdapter>(std::move(adapter), spelling));
}

bool knows(const std::vector<std::string>& words, const Value& word) {
  return word.text() != nullptr && std::count(words.begin(), words.end(), *word.text()) > 0;
}

// config.json calls itself something else than the adapter's manifest does.
bool is_foreign(const ComponentManifest& adapter, const Value& config) {
  if (config.has("model_type") && !adapter.model_types.empty() &&
      !knows(adapter.model_types, config["model_type"]))
    return true;
  const Value::List* const named = config["architectures"].list();
  if (named == nullptr || named->empty() || adapter.architectures.empty()) return false;
  return std::none_of(named->begin(), named->end(), [&](const Value& architecture) {
    return knows(adapter.architectures, architecture);
  });
}

// What no forward pass depends on.
bool is_harmless(const std::string& key) {
  static const auto* const kKeys =
      new std::set<std::string, std::less<>>{"architectures",
                                             "auto_map",
                                             "dtype",
                                             "ep_size",
                                             "id2label",
                                             "label2id",
                                             "lm_head_bias",
                                             "max_length",
                                             "model_type",
                                             "num_labels",
                                             "num_mtp_layers",
                                             "num_nextn_predict_layers",
                                             "pretraining_tp",
                                             "problem_type",
                                             "quantization_config",
                                             "return_dict",
                                             "seq_aux",
                                             "tokenizer_class",
                                             "torch_dtype",
                                             "transformers_version",
                                             "use_cache"};
  if (kKeys->count(key) > 0 || key.front() == '_') return true;
  for (const char* part : {"dropout", "_token_id", "initializer", "init_", "aux_loss", "output_"}) {
    if (absl::StrContains(key, part)) return true;
  }
  return false;
}

// False, null, 0, 1, an empty text, list or table: as good as absent.
bool is_neutral(const Value& value) {
  double number = 0;
  if (value.number(&number)) return number == 0 || number == 1;
  return value.is_null() || (value.boolean() != nullptr && !*value.boolean()) ||
         (value.text() != nullptr && value.text()->empty()) ||
         (value.list() != nullptr && value.list()->empty()) ||
         (value.table() != nullptr && value.table()->empty());
}

// A model that calls itself something else may be another network: it is taken only where the
// adapter has read everything that config.json says.
absl::Status check_keys(const ComponentManifest& adapter, const Value& config, const KeyLog& read) {
  if (config.table() == nullptr || !is_foreign(adapter, config)) return absl::OkStatus();
  std::vector<std::string> unread;
  for (const auto& [key, value] : *config.table()) {
    if (!is_neutral(value) && !is_harmless(key) && !read.has(key)) unread.push_back(key);
  }
  if (unread.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("config.json: the adapter \"", adapter.name, "\" knows no model_type \"",
                   config["model_type"].text() != nullptr ? *config["model_type"].text() : "",
                   "\" of this architecture, and does not read ", absl::StrJoin(unread, ", "),
                   ": it may be another network; [model] adapter = \"", adapter.name,
                   "\" insists on it (--adapter ", adapter.name, " with inspect and forward)"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<ModelAdapter>> open_adapter(Loader& loader,
                                                           const AdapterRules& rules,
                                                           const Value& config) {
  SWAGE_ASSIGN_OR_RETURN(auto adapter, make(loader, rules.adapter, rules.spelling));
  if (rules.language) {
    SWAGE_ASSIGN_OR_RETURN(auto language, make(loader, *rules.language, rules.language_spelling));
    adapter = std::make_shared<ComposedAdapter>(std::move(adapter), std::move(language),
                                                rules.language_config);
  }
  KeyLog read;
  SWAGE_RETURN_IF_ERROR(
      call_plugin(adapter_site(rules.adapter.component->name, ""), [&]() -> absl::Status {
        try {
          return adapter->open(config);
        } catch (const std::invalid_argument& error) {
          // An accessor met a key of another type: config.json is at fault.
          return absl::InvalidArgumentError(absl::StrCat("config.json: ", error.what()));
        }
      }));
  if (rules.chosen) return adapter;
  SWAGE_RETURN_IF_ERROR(check_keys(*rules.adapter.component, config, read));
  if (rules.language) {
    SWAGE_RETURN_IF_ERROR(check_keys(*rules.language->component, rules.language_config, read));
  }
  return adapter;
}

}  // namespace swage
