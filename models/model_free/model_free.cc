// A checkpoint without an adapter of its own: linears of numbered layers are told by their names,
// and what is none of these is carried. Nothing can be computed with it, so it serves steps and
// schemes that need no data.
#include <algorithm>
#include <map>
#include <mutex>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "names.h"
#include "swage/model.h"
#include "swage/nn/load.h"
#include "swage/register.h"
#include "swage/status.h"

namespace {

using namespace swage;
using namespace swage::model_free;

// Linears that engines multiply as one matrix, by the ends of their names.
constexpr const char* kFused[][3] = {{".q_proj", ".k_proj", ".v_proj"},
                                     {".gate_proj", ".up_proj", ".up_proj"},
                                     {".w1", ".w3", ".w3"}};
// Experts that are worked on together: a piece of a layer, so that memory is none of the layer's.
constexpr int64_t kPieceExperts = 16;
constexpr const char kUnknown[] =
    "the adapter \"none\" computes nothing: use steps and schemes that need no data (rtn), no "
    "[[evaluate]] and no [calibration]";

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
    layers_ = layer_count(config);
    if (layers_ < 1)
      return absl::InvalidArgumentError(
          "config.json says nowhere how many layers there are (num_hidden_layers)");
    const int64_t experts = expert_count(config);
    pieces_ = std::max<int64_t>(1, (experts + kPieceExperts - 1) / kPieceExperts);
    shape_.towers = {{kLanguage, layers_ * pieces_}};
    shape_.hidden_size = shape_.context_length = 1;  // of nothing
    shape_.vocab_size = std::max<int64_t>(1, vocabulary_size(config));
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
