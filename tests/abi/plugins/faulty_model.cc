// Llama, with what config.json names as `fault`.
#include "absl/strings/match.h"
#include "swage/nn/decoder.h"
#include "swage/plugin.h"
#include "tests/abi/plugins/ends.h"

namespace {

using namespace swage;

// What a fault does to a block beyond what stands in it.
class FaultyBlock final : public Block {
 public:
  FaultyBlock(BlockId id, std::string fault) : Block(std::move(id)), fault_(std::move(fault)) {}
  ~FaultyBlock() override {
    if (absl::StartsWith(fault_, "destructor:")) ends::end(fault_.substr(11));
  }

  void run_stage(int64_t stage, Slots& slots) override {
    if (absl::StartsWith(fault_, "stage:")) ends::end(fault_.substr(6));
    if (stage < 4) {
      if (fault_ != "no slot")
        slots["x"] = at::ones({slots.tokens(), subsets()[stage].linears[0]->in()});
      if (fault_ == "narrow slot") slots["x"] = slots.at("x").narrow(1, 0, 8);
      if (fault_ == "fewer rows") slots["x"] = slots.at("x").slice(0, 0, -1, 2);
    } else if (fault_ == "wide output") {
      slots[kHidden] = at::zeros({slots.tokens(), 65});
    } else if (fault_ == "fewer tokens") {
      slots[kHidden] = slots.at(kHidden).narrow(0, 0, 1);
    } else if (fault_ == "no output") {
      slots.erase(kHidden);
    }
  }
  at::Tensor inspect(int64_t, const Slots& slots) override { return slots.at("x"); }

 private:
  const std::string fault_;
};

class WideHead final : public Head {
 public:
  at::Tensor normalize(const at::Tensor& hidden) override { return hidden.zero_(); }
  at::Tensor logits(const at::Tensor& normalized) override {
    return at::zeros({normalized.size(0), 7});
  }
};

class FaultyModel final : public nn::DecoderAdapter {
 public:
  absl::Status open(const Value& config) override {
    fault_ = config.str("fault", "");
    if (absl::StartsWith(fault_, "open:")) ends::end(fault_.substr(5));
    SWAGE_RETURN_IF_ERROR(DecoderAdapter::open(config));
    shape_ = DecoderAdapter::shape();
    if (fault_ == "negative count") shape_.towers[0].block_count = -3;
    if (fault_ == "huge count") shape_.towers[0].block_count = int64_t{1} << 60;
    if (fault_ == "no tower") shape_.towers.clear();
    if (fault_ == "hidden size") shape_.hidden_size = 72;
    if (fault_ == "no hidden size") shape_.hidden_size = 0;
    return absl::OkStatus();
  }
  const ModelShape& shape() const override {
    if (absl::StartsWith(fault_, "shape:")) ends::end(fault_.substr(6));
    return shape_;
  }
  absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const std::string& tower,
                                                            const WeightSource& source,
                                                            const LoadOptions& options) override {
    if (fault_ == "null embedding") return std::unique_ptr<Embedding>();
    SWAGE_ASSIGN_OR_RETURN(auto embedding, DecoderAdapter::load_embedding(tower, source, options));
    at::Tensor& table = embedding->parameters().front().value;
    if (fault_ == "scaled embedding") table = table * 2;
    return embedding;
  }
  absl::StatusOr<std::unique_ptr<Head>> load_head(const WeightSource& source,
                                                  const LoadOptions& options) override {
    if (fault_ == "null head") return std::unique_ptr<Head>();
    if (fault_ == "wide logits") {
      SWAGE_ASSIGN_OR_RETURN(const auto head, DecoderAdapter::load_head(source, options));
      auto wide = std::make_unique<WideHead>();
      wide->parameters() = head->parameters();
      return wide;
    }
    return DecoderAdapter::load_head(source, options);
  }
  absl::StatusOr<std::unique_ptr<Block>> load_block(const BlockId& id, const WeightSource& source,
                                                    const LoadOptions& options) override {
    if (absl::StartsWith(fault_, "load:")) ends::end(fault_.substr(5));
    if (fault_ == "null block") return std::unique_ptr<Block>();
    const BlockId wanted = fault_ == "another block" ? BlockId{id.tower, 1 - id.index} : id;
    SWAGE_ASSIGN_OR_RETURN(auto block, DecoderAdapter::load_block(wanted, source, options));
    std::vector<Subset>& subsets = block->subsets();
    if (fault_ == "null linear") subsets[1].linears[0] = nullptr;
    if (fault_ == "foreign linear") subsets[1].linears[0] = &foreign_;
    if (fault_ == "cycle") {
      subsets[3].linears = subsets[0].linears;
      subsets[3].fold = {};
    }
    if (fault_ == "fold ahead") subsets[1].fold.linear = subsets[3].linears[0];
    if (fault_ == "fold rows") subsets[1].fold.row_of_channel.fill_(100000);
    if (fault_ == "no input") subsets[2].input.clear();
    if (fault_ == "short bias") block->linears()[0].bias = at::zeros({3});
    if (fault_ == "no weight") block->linears()[2].weight = at::Tensor();
    if (fault_ == "one name") block->linears()[1].name = block->linears()[0].name;
    if (fault_ == "scaled weight") block->linears()[3].weight.mul_(1.001);
    if (fault_ == "scaled norm") block->parameters()[1].value.mul_(1.001);
    if (fault_ == "first block's values" && id.index > 0) {
      SWAGE_ASSIGN_OR_RETURN(const auto first,
                             DecoderAdapter::load_block({id.tower, 0}, source, options));
      for (size_t i = 0; i < block->linears().size(); ++i)
        block->linears()[i].weight = first->linears()[i].weight;
    }
    if (fault_ == "no norm") block->parameters()[0].value = at::Tensor();
    const bool runs = fault_ == "no slot" || fault_ == "narrow slot" || fault_ == "fewer rows" ||
                      fault_ == "wide output" || fault_ == "fewer tokens" ||
                      fault_ == "no output" || absl::StartsWith(fault_, "stage:") ||
                      absl::StartsWith(fault_, "destructor:");
    return runs ? own(std::move(block)) : std::move(block);
  }

 protected:
  absl::StatusOr<nn::DecoderDescription> describe(const Value& config) const override {
    nn::DecoderDescription d;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    return d;
  }

 private:
  std::unique_ptr<Block> own(std::unique_ptr<Block> block) const {
    auto made = std::make_unique<FaultyBlock>(block->id(), fault_);
    made->parameters() = block->parameters();
    made->linears() = block->linears();
    for (const Subset& subset : block->subsets()) {
      Subset copy;
      copy.name = subset.name;
      copy.input = "x";
      for (const Linear* linear : subset.linears) {
        for (Linear& one : made->linears()) {
          if (one.name == linear->name) copy.linears.push_back(&one);
        }
      }
      made->subsets().push_back(std::move(copy));
    }
    return made;
  }

  std::string fault_;
  ModelShape shape_;
  Linear foreign_;
};

}  // namespace

SWAGE_MODEL(FaultyModel, "faulty-model");
