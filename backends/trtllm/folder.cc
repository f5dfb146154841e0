#include "folder.h"

#include <filesystem>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "layout.h"
#include "ranks.h"
#include "swage/io/safetensors.h"
#include "swage/io/stored_checkpoint.h"
#include "swage/status.h"
#include "swage/store/integer_form.h"

namespace swage::trtllm {
namespace {

namespace fs = std::filesystem;

constexpr char kQuantization[] = "quantization", kSourceKey[] = "quantization_config",
               kSourceFile[] = "source_config.json", kNorm[] = "model.norm.weight";
constexpr int64_t kMaxConfigBytes = 16 << 20;

std::string rank_file(int64_t rank) { return absl::StrCat("rank", rank, ".safetensors"); }

// config.json of a checkpoint whose tensors in floats have this dtype.
Value config_of(const Value& source, const Model& model, at::ScalarType dtype) {
  const Value& rope = source["rope_parameters"];
  const Value theta(rope.f64("rope_theta", source.f64("rope_theta", 10000.0)));
  Value::Table config = {
      {"producer", Value::Table{{"name", "swage"}, {"version", "1.0"}}},
      {"architecture",
       source.str("model_type", "") == "mistral" ? "MistralForCausalLM" : "LlamaForCausalLM"},
      {"dtype", store::dtype_name(dtype)},
      {"logits_dtype", "float32"},
      {"num_hidden_layers", model.layers},
      {"num_attention_heads", model.heads},
      {"num_key_value_heads", model.kv_heads},
      {"hidden_size", model.hidden},
      {"intermediate_size", model.intermediate},
      {"head_size", model.head_size},
      {"norm_epsilon", source.f64("rms_norm_eps", 1e-6)},
      {"vocab_size", model.vocabulary},
      {"max_position_embeddings", source.i64("max_position_embeddings", 2048)},
      {"hidden_act", source.str("hidden_act", "silu")},
      {"position_embedding_type", "rope_gpt_neox"},
      {"rotary_base", theta},
      {"attn_bias", source.flag("attention_bias", false)},
      {"mlp_bias", source.flag("mlp_bias", false)},
      {"use_parallel_embedding", false},
      {"embedding_sharding_dim", 0},
      {"share_embedding_table", false},
      {"mapping",
       Value::Table{{"world_size", model.ranks}, {"tp_size", model.ranks}, {"pp_size", 1}}},
      {kQuantization, source[kSourceKey]}};
  const Value& scaling = source.has("rope_scaling") ? source["rope_scaling"] : rope;
  const std::string kind = scaling.str("rope_type", scaling.str("type", "default"));
  if (!scaling.is_null() && kind != "default") config["rotary_scaling"] = scaling;
  return config;
}

// The one file that the kit writes of a source becomes the rank's.
absl::Status rename_weights(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from / "model.safetensors", to, error);
  if (!error) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(to.string(), ": cannot be written (", error.message(), ")"));
}

absl::StatusOr<Value> read_json(const fs::path& file) {
  SWAGE_ASSIGN_OR_RETURN(const std::string text, io::read_file(file.string(), kMaxConfigBytes));
  SWAGE_ASSIGN_OR_RETURN(Value value, parse_json(text, file.string()));
  if (value.table() != nullptr) return value;
  return absl::InvalidArgumentError(absl::StrCat(file.string(), ": holds no table"));
}

class Folder final : public io::Checkpoint {
 public:
  Folder(std::string path, Value config, std::unique_ptr<WeightSource> weights)
      : path_(std::move(path)), config_(std::move(config)), weights_(std::move(weights)) {}

  const Value& config() const override { return config_; }
  const WeightSource& weights() const override { return *weights_; }
  const std::string& path() const override { return path_; }
  std::string identity() const override { return absl::StrCat("trtllm ", path_); }
  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files() const override {
    return io::side_files_of(path_);
  }

 private:
  const std::string path_;
  const Value config_;
  const std::unique_ptr<WeightSource> weights_;
};

absl::Status check_config(const Value& written, const Value& found) {
  if (found == written) return absl::OkStatus();
  for (const auto& [key, value] : *written.table()) {
    if (found[key] == value) continue;
    return absl::InvalidArgumentError(absl::StrCat("config.json: ", key, " is ",
                                                   to_json(found[key], -1), ", expected ",
                                                   to_json(value, -1), " by ", kSourceFile));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("config.json has more keys than ", kSourceFile, " accounts for"));
}

}  // namespace

absl::Status write_folder(const ExportContext& context, const Value& config,
                          const store::HfExporter::SideFiles& files, int64_t ranks) {
  SWAGE_ASSIGN_OR_RETURN(const Model model, Model::of(config, ranks));
  SWAGE_ASSIGN_OR_RETURN(const at::ScalarType dtype, context.tensors().dtype(kNorm));
  Value::Table source = *config.table();
  source.erase(kSourceKey);
  store::HfExporter::SideFiles beside = files;
  beside.emplace_back(kSourceFile, to_json(Value(std::move(source))) + "\n");
  const fs::path folder = context.directory();
  const Value own = config_of(config, model, dtype);
  for (int64_t rank = ranks - 1; rank >= 0; --rank) {
    SWAGE_ASSIGN_OR_RETURN(const auto tensors, rank_of(context.tensors(), model, rank));
    const fs::path place = rank == 0 ? folder : folder / absl::StrCat("rank", rank);
    SWAGE_RETURN_IF_ERROR(io::write_hf_checkpoint(
        place.string(), *tensors, own, rank == 0 ? beside : store::HfExporter::SideFiles(),
        std::numeric_limits<int64_t>::max()));
    SWAGE_RETURN_IF_ERROR(rename_weights(place, folder / rank_file(rank)));
    std::error_code ignored;
    if (rank > 0) fs::remove_all(place, ignored);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<io::Checkpoint>> open_folder(const std::string& path) {
  const fs::path folder = path;
  SWAGE_ASSIGN_OR_RETURN(const Value own, read_json(folder / "config.json"));
  SWAGE_ASSIGN_OR_RETURN(Value config, read_json(folder / kSourceFile));
  (*config.table())[kSourceKey] = own[kQuantization];
  const int64_t* const count = own["mapping"]["tp_size"].integer();
  if (count == nullptr || *count < 1 || *count > 64)
    return absl::InvalidArgumentError("config.json: mapping.tp_size is no number of ranks");
  SWAGE_ASSIGN_OR_RETURN(const Model model, Model::of(config, *count));
  std::vector<std::unique_ptr<WeightSource>> ranks;
  for (int64_t rank = 0; rank < *count; ++rank) {
    SWAGE_ASSIGN_OR_RETURN(auto one, io::open_safetensors({(folder / rank_file(rank)).string()}));
    ranks.push_back(std::move(one));
  }
  SWAGE_ASSIGN_OR_RETURN(auto weights, joined(std::move(ranks), model));
  SWAGE_ASSIGN_OR_RETURN(const at::ScalarType dtype, weights->dtype(kNorm));
  // Numbers as a file holds them.
  SWAGE_ASSIGN_OR_RETURN(const Value written,
                         parse_json(to_json(config_of(config, model, dtype)), kSourceFile));
  SWAGE_RETURN_IF_ERROR(check_config(written, own));
  return std::make_unique<Folder>(path, std::move(config), std::move(weights));
}

}  // namespace swage::trtllm
