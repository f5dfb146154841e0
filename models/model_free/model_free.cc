// A checkpoint without an adapter of its own: linears of numbered layers are told by their names,
// and what is none of these is carried. Nothing can be computed with it, so it serves steps and
// schemes that need no data.
#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "swage/model.h"
#include "swage/nn/load.h"
#include "swage/register.h"
#include "swage/status.h"

namespace {

using namespace swage;

// As the manifest's `linears`.
constexpr const char* kEnds[] = {"_proj",
                                 ".w1",
                                 ".w2",
                                 ".w3",
                                 ".wq",
                                 ".wk",
                                 ".wv",
                                 ".wo",
                                 ".wqkv",
                                 ".fc1",
                                 ".fc2",
                                 ".fc_in",
                                 ".fc_out",
                                 ".c_attn",
                                 ".c_fc",
                                 ".c_proj",
                                 ".dense",
                                 ".dense_h_to_4h",
                                 ".dense_4h_to_h",
                                 ".query_key_value",
                                 ".qkv",
                                 ".proj_with_mqa"};
constexpr const char* kStacks[] = {"layers", "h", "blocks", "layer", "block"};
constexpr const char* kLayerCounts[] = {"num_hidden_layers", "n_layer", "num_layers", "n_layers"};
constexpr const char* kExpertCounts[] = {"n_routed_experts", "num_experts", "num_local_experts"};
// Tables of config.json in which the language model's own keys may lie.
constexpr const char* kTables[] = {"text_config", "llm_config", "language_config"};
// Linears that engines multiply as one matrix, by the ends of their names.
constexpr const char* kFused[][3] = {{".q_proj", ".k_proj", ".v_proj"},
                                     {".gate_proj", ".up_proj", ".up_proj"},
                                     {".w1", ".w3", ".w3"}};
// Experts that are worked on together: a piece of a layer, so that memory is none of the layer's.
constexpr int64_t kPieceExperts = 16;
constexpr const char kUnknown[] =
    "the adapter \"none\" computes nothing: use steps and schemes that need no data (rtn), no "
    "[[evaluate]] and no [calibration]";

int64_t count_in(const Value& config, const char* const* keys, size_t size) {
  const auto in = [&](const Value& table) -> int64_t {
    for (size_t i = 0; i < size; ++i)
      if (const int64_t* const count = table[keys[i]].integer()) return *count;
    return 0;
  };
  int64_t count = in(config);
  for (const char* table : kTables) count = std::max(count, in(config[table]));
  return count;
}

bool is_linear(const std::string& module) {
  return std::any_of(std::begin(kEnds), std::end(kEnds),
                     [&](const char* end) { return absl::EndsWith(module, end); });
}

// The numbers behind a stack of layers and behind "experts"; -1: none.
struct Place {
  int64_t layer = -1, expert = -1;
};
Place place_of(const std::string& module) {
  Place place;
  const std::vector<absl::string_view> parts = absl::StrSplit(module, '.');
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    // Draft layers and towers number layers of their own.
    for (const char* other : {"vis", "audio", "encoder", "mtp"})
      if (place.layer < 0 && absl::StrContains(absl::AsciiStrToLower(parts[i]), other)) return {};
    int64_t number = -1;
    if (!absl::SimpleAtoi(parts[i + 1], &number)) continue;
    const bool stack =
        std::find(std::begin(kStacks), std::end(kStacks), parts[i]) != std::end(kStacks);
    if (stack && place.layer < 0) place.layer = number;
    if (parts[i] == "experts") place.expert = number;
  }
  return place;
}

// Linears side by side, whose members share what an engine fuses.
class Piece final : public Block {
 public:
  explicit Piece(BlockId id) : Block(std::move(id)) {}
  void run_stage(int64_t, Slots&) override { throw std::invalid_argument(kUnknown); }
  at::Tensor inspect(int64_t, const Slots&) override { throw std::invalid_argument(kUnknown); }

  absl::Status add(const WeightSource& source, const std::string& module,
                   const LoadOptions& options) {
    SWAGE_ASSIGN_OR_RETURN(const auto shape, source.shape(module + ".weight"));
    SWAGE_ASSIGN_OR_RETURN(Linear linear, nn::load_linear(source, module, shape[0], shape[1],
                                                          source.has(module + ".bias"), options));
    linears_.push_back(std::move(linear));
    return absl::OkStatus();
  }

  void join() {
    std::map<std::string, size_t> known;
    for (Linear& linear : linears_) {
      const std::string name = fused_name(linear);
      const auto [found, is_new] = known.emplace(name, subsets_.size());
      if (is_new) {
        Subset subset;
        subset.name = subset.input = name;
        subset.fold.why_none = kUnknown;
        subsets_.push_back(std::move(subset));
      }
      subsets_[found->second].linears.push_back(&linear);
    }
  }

 private:
  static std::string fused_name(const Linear& linear) {
    for (const auto& ends : kFused) {
      for (const char* end : ends) {
        if (absl::EndsWith(linear.name, end))
          return absl::StrCat(linear.name.substr(0, linear.name.rfind('.')), ends[0], " ",
                              linear.in());
      }
    }
    return linear.name;
  }
};

class NoEmbedding final : public Embedding {
 public:
  absl::Status embed(Slots&) override { return absl::InvalidArgumentError(kUnknown); }
};

class NoHead final : public Head {
 public:
  at::Tensor normalize(const at::Tensor&) override { throw std::invalid_argument(kUnknown); }
  at::Tensor logits(const at::Tensor&) override { throw std::invalid_argument(kUnknown); }
};

class ModelFree final : public ModelAdapter {
 public:
  absl::Status open(const Value& config) override {
    layers_ = count_in(config, kLayerCounts, std::size(kLayerCounts));
    if (layers_ < 1)
      return absl::InvalidArgumentError(
          "config.json says nowhere how many layers there are (num_hidden_layers)");
    const int64_t experts = count_in(config, kExpertCounts, std::size(kExpertCounts));
    pieces_ = std::max<int64_t>(1, (experts + kPieceExperts - 1) / kPieceExperts);
    shape_.towers = {{kLanguage, layers_ * pieces_}};
    shape_.hidden_size = shape_.vocab_size = shape_.context_length = 1;  // of nothing
    return absl::OkStatus();
  }
  const ModelShape& shape() const override { return shape_; }

  absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const std::string&, const WeightSource&,
                                                            const LoadOptions&) override {
    return std::make_unique<NoEmbedding>();
  }
  absl::StatusOr<std::unique_ptr<Head>> load_head(const WeightSource&,
                                                  const LoadOptions&) override {
    return std::make_unique<NoHead>();
  }
  absl::StatusOr<std::unique_ptr<Block>> load_block(const BlockId& id, const WeightSource& source,
                                                    const LoadOptions& options) override {
    auto piece = std::make_unique<Piece>(id);
    for (const std::string& module : modules_of(id.index, source))
      SWAGE_RETURN_IF_ERROR(piece->add(source, module, options));
    piece->join();
    return piece;
  }

 private:
  using Modules = std::map<int64_t, std::vector<std::string>>;  // by piece

  std::vector<std::string> modules_of(int64_t index, const WeightSource& source) {
    const std::lock_guard lock(mutex_);
    if (source_ != &source) {
      modules_ = sorted(source);
      source_ = &source;
    }
    const auto found = modules_.find(index);
    return found != modules_.end() ? found->second : std::vector<std::string>();
  }

  Modules sorted(const WeightSource& source) const {
    Modules modules;
    for (const std::string& tensor : source.names()) {
      if (!absl::EndsWith(tensor, ".weight")) continue;
      const std::string module = tensor.substr(0, tensor.rfind('.'));
      if (!is_linear(module)) continue;
      const Place place = place_of(module);
      const auto shape = source.shape(tensor);
      const auto type = source.dtype(tensor);
      const bool matrix =
          shape.ok() && shape->size() == 2 && type.ok() && at::isFloatingType(*type);
      if (!matrix || place.layer < 0 || place.layer >= layers_) continue;
      const int64_t piece =
          std::min(std::max<int64_t>(0, place.expert) / kPieceExperts, pieces_ - 1);
      modules[place.layer * pieces_ + piece].push_back(module);
    }
    return modules;
  }

  ModelShape shape_;
  int64_t layers_ = 0, pieces_ = 1;
  std::mutex mutex_;
  const WeightSource* source_ = nullptr;
  Modules modules_;
};

}  // namespace

SWAGE_MODEL(ModelFree, "none");
