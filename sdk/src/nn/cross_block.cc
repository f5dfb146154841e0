// A block of a language tower that looks at features beside its stream.
#include "nn/decoder_block.h"
#include "nn/mlp_part.h"
#include "nn/tile_inputs.h"
#include "swage/nn/attention.h"
#include "swage/nn/tiles.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr const char* kInput = "attention.input";
constexpr const char* kStates = "attention.features";  // put aside
constexpr const char* kOutput = "attention.output";
constexpr const char* kQuery = "attention.query";
// int64 [tokens, 2]: 0 where a token looks at features, and 1 where it sees an image; else -1.
constexpr const char* kLooks = "attention.looks";
// Of the tower, or empty: micro-batches of text have the same slots.
constexpr const char* kRows = "attention.rows";      // kSight
constexpr const char* kTables = "attention.tables";  // kSightTables
constexpr const char* kSizes = "attention.sizes";    // kSightSizes

class CrossBlock final : public Block {
 public:
  CrossBlock(const DecoderDescription& description, BlockId id)
      : Block(std::move(id)), description_(description), mlp_(description) {}

  absl::Status load(const WeightSource& source, const LoadOptions& options) {
    const DecoderDescription& d = description_;
    BlockReader reader(source, options, prefix_of(d, id()), &linears_, &parameters_);
    const int64_t width = d.heads * d.head_dim, kv_width = d.kv_heads * d.head_dim;
    SWAGE_RETURN_IF_ERROR(load_norm(reader, d.names.input_norm, d.hidden_size, &input_norm_));
    SWAGE_RETURN_IF_ERROR(load_norm(reader, d.names.post_norm, d.hidden_size, &post_norm_));
    SWAGE_RETURN_IF_ERROR(load_norm(reader, d.names.q_norm, d.head_dim, &q_norm_));
    SWAGE_RETURN_IF_ERROR(load_norm(reader, d.names.k_norm, d.head_dim, &k_norm_));
    SWAGE_RETURN_IF_ERROR(reader.parameter(d.names.attention_scale, {1}, &attention_gate_));
    SWAGE_RETURN_IF_ERROR(reader.parameter(d.names.mlp_scale, {1}, &mlp_gate_));
    SWAGE_RETURN_IF_ERROR(reader.linear(d.names.q, width, d.hidden_size, d.qkv_bias, &q_));
    SWAGE_RETURN_IF_ERROR(reader.linear(d.names.k, kv_width, d.hidden_size, d.qkv_bias, &k_));
    SWAGE_RETURN_IF_ERROR(reader.linear(d.names.v, kv_width, d.hidden_size, d.qkv_bias, &v_));
    SWAGE_RETURN_IF_ERROR(reader.linear(d.names.o, d.hidden_size, width, d.o_bias, &o_));
    SWAGE_RETURN_IF_ERROR(mlp_.load(reader));
    add_subsets();
    return absl::OkStatus();
  }

  void run_stage(int64_t stage, Slots& slots) override {
    switch (stage) {
      case 0:
        return enter(slots);
      case 1:
        return query(slots);
      case 2:
        return attend(slots);
      case 3:
        add(o_->apply(slots.take(kOutput)), attention_gate_, looking_, slots);
        return put_rows(mlp_.subsets[0].input, post_norm_, seeing_, slots);
      case 4: {
        mlp_.run(0, slots);
        const std::string& wide = mlp_.subsets[1].input;
        return slots.put_routed(wide, slots.take(wide), seeing_);
      }
      default:
        return add(mlp_.run(1, slots), mlp_gate_, seeing_, slots);
    }
  }

  at::Tensor inspect(int64_t subset, const Slots& slots) override {
    if (subset >= 3) return mlp_.output(static_cast<size_t>(subset) - 3, slots);
    Slots scratch = slots;
    for (int64_t stage = subset + 1; stage < 3; ++stage) run_stage(stage, scratch);
    return o_->apply(scratch.at(kOutput));
  }

  KeySites key_sites() override {
    KeySites sites;
    sites.why_none = "norms of queries and keys stand behind their projections";
    return sites;
  }
  ResidualSites residual_sites() override { return {"", {0, 3}, {o_, mlp_.writers.front()}}; }

 private:
  absl::Status load_norm(BlockReader& reader, const std::string& name, int64_t width, Norm* norm) {
    const DecoderDescription& d = description_;
    return reader.norm(name, d.norm, d.norm_eps, width, norm);
  }

  void add_subsets() {
    const DecoderDescription& d = description_;
    Subset input, states, output;
    input.name = input.input = kInput;
    input.route = looking_;
    input.linears = {q_};
    input.fold = fold_into(input_norm_);
    input.inspect_module = states.inspect_module = true;
    states.name = states.input = kStates;
    states.linears = {k_, v_};
    states.fold.why_none = "every block that looks at images reads the same features";
    output.name = output.input = kOutput;
    output.route = looking_;
    output.linears = {o_};
    output.fold.kind = FoldTarget::Kind::kLinearRows;
    output.fold.linear = v_;
    output.fold.head_dim = d.head_dim;
    output.fold.row_of_channel = at::arange(d.kv_heads * d.head_dim, at::kLong)
                                     .view({d.kv_heads, d.head_dim})
                                     .repeat_interleave(d.heads / d.kv_heads, 0)
                                     .flatten();
    subsets_ = {std::move(input), std::move(states), std::move(output)};
    mlp_.subsets[0].fold = fold_into(post_norm_);
    for (Subset& subset : mlp_.subsets) {
      subset.route = seeing_;
      subsets_.push_back(subset);
    }
  }

  void enter(Slots& slots) const {
    const at::Tensor& hidden = slots.at(kHidden);
    const int64_t tokens = slots.tokens();
    const auto whole = at::TensorOptions().dtype(at::kLong);
    if (slots.has(kFeatures)) {
      const at::Tensor& sight = slots.at(kSight);
      slots[kLooks] =
          at::stack({at::zeros_like(sight.select(1, 1)), sight.select(1, 1) * 2 - 1}, 1);
      slots[kRows] = sight;
      slots.put_aside(kTables, slots.at(kSightTables));
      slots.put_aside(kSizes, slots.at(kSightSizes));
      slots.put_aside(kStates, slots.at(kFeatures));
    } else {
      slots[kLooks] = at::full({tokens, 2}, -1, whole.device(hidden.device()));
      slots[kRows] = at::zeros({tokens, 2}, whole.device(hidden.device()));
      slots.put_aside(kTables, at::zeros({0}, hidden.options().dtype(at::kBool)));
      slots.put_aside(kSizes, at::zeros({static_cast<int64_t>(slots.lengths.size()), 2}, whole));
      slots.put_aside(kStates, at::zeros({0, description_.hidden_size}, hidden.options()));
    }
    put_rows(kInput, input_norm_, looking_, slots);
  }

  void put_rows(const std::string& slot, const Norm& norm, const Route& route, Slots& slots) const {
    const at::Tensor rows = slots.rows_of(route);
    slots.put_routed(slot, norm.apply(slots.at(kHidden).index_select(0, rows)), route);
  }

  void query(Slots& slots) const {
    const at::Tensor q =
        q_->apply(slots.take(kInput)).view({-1, description_.heads, description_.head_dim});
    slots.put_routed(kQuery, q_norm_.apply(q), looking_);
  }

  // Tokens of a sequence that see the same share their keys.
  void attend(Slots& slots) const {
    const DecoderDescription& d = description_;
    const at::Tensor q = slots.take(kQuery), states = slots.take(kStates);
    const at::Tensor k = k_norm_.apply(k_->apply(states).view({-1, d.kv_heads, d.head_dim}));
    const at::Tensor v = v_->apply(states).view({-1, d.kv_heads, d.head_dim});
    AttentionRule rule;
    rule.scale = 1.0 / std::sqrt(static_cast<double>(d.head_dim));
    rule.causal = false;
    const at::Tensor row_of_token = slots.at(kRows).select(1, 0);
    const at::Tensor sizes = slots.at(kSizes).to(at::kCPU);
    std::vector<at::Tensor> places, outputs;
    int64_t token = 0, query = 0, feature = 0, entry = 0;
    for (size_t i = 0; i < slots.lengths.size(); ++i) {
      const int64_t* size = sizes.const_data_ptr<int64_t>() + 2 * i;
      const int64_t length = slots.lengths[i], count = size[0], features = size[1];
      for (int64_t row = 0; row < count; ++row) {
        const at::Tensor seen =
            slots.at(kTables).narrow(0, entry, features).nonzero().flatten() + feature;
        entry += features;
        const at::Tensor looking =
            row_of_token.narrow(0, token, length).eq(row).nonzero().flatten() + query;
        if (looking.size(0) == 0) continue;  // a prefix of the sequence has fewer
        outputs.push_back(cross_attention(q.index_select(0, looking), k.index_select(0, seen),
                                          v.index_select(0, seen), {looking.size(0)},
                                          {seen.size(0)}, rule));
        places.push_back(looking);
      }
      if (count > 0) query += length;
      token += length;
      feature += features;
    }
    at::Tensor y = at::zeros({q.size(0), d.heads * d.head_dim}, q.options());
    if (!outputs.empty()) y = y.index_copy(0, at::cat(places), at::cat(outputs));
    slots.put_routed(kOutput, y, looking_);
  }

  void add(const at::Tensor& output, const Parameter* gate, const Route& route,
           Slots& slots) const {
    const at::Tensor& hidden = slots.at(kHidden);
    slots[kHidden] = hidden.index_add(0, slots.rows_of(route), output * gate->value.tanh());
  }

  const DecoderDescription description_;
  const Route looking_ = {kLooks, 0}, seeing_ = {kLooks, 1};
  Norm input_norm_, post_norm_, q_norm_, k_norm_;
  Parameter *attention_gate_ = nullptr, *mlp_gate_ = nullptr;
  Linear *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *o_ = nullptr;
  MlpPart mlp_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Block>> load_cross_block(const DecoderDescription& description,
                                                        const BlockId& id,
                                                        const WeightSource& source,
                                                        const LoadOptions& options) {
  auto block = std::make_unique<CrossBlock>(description, id);
  SWAGE_RETURN_IF_ERROR(block->load(source, options));
  return std::unique_ptr<Block>(std::move(block));
}

}  // namespace swage::nn
