#include "nn/decoder_block.h"

#include "nn/kernels.h"
#include "swage/nn/attention.h"
#include "swage/nn/load.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr int64_t kWideRows = 512;
constexpr const char* kAttentionInput = "attention.input";
constexpr const char* kAttentionOutput = "attention.output";
constexpr const char* kMlpInput = "mlp.input";
constexpr const char* kMlpOutput = "mlp.output";

FoldTarget norm_target(const Norm& norm) {
  FoldTarget target;
  target.kind = FoldTarget::Kind::kNorm;
  target.norm_weight = norm.weight;
  target.norm_bias = norm.bias;
  target.norm_offset = norm.kind == NormKind::kRmsOffset;
  return target;
}

FoldTarget row_target(Linear& linear, const at::Tensor& row_of_channel) {
  FoldTarget target;
  target.kind = FoldTarget::Kind::kLinearRows;
  target.linear = &linear;
  target.row_of_channel = row_of_channel;
  return target;
}

}  // namespace

absl::Status DecoderBlock::load(const WeightSource& source, const LoadOptions& options) {
  const DecoderDescription& d = description_;
  const std::string prefix = absl::StrCat(d.names.blocks, ".", id().index, ".");
  SWAGE_RETURN_IF_ERROR(load_norm(source, prefix + d.names.input_norm, options, input_norm_));
  SWAGE_RETURN_IF_ERROR(load_norm(source, prefix + d.names.post_norm, options, post_norm_));
  const int64_t width = d.heads * d.head_dim, kv_width = d.kv_heads * d.head_dim;
  const auto add = [&](Linear** slot, const std::string& name, int64_t out, int64_t in,
                       bool bias) -> absl::Status {
    SWAGE_ASSIGN_OR_RETURN(Linear linear,
                           load_linear(source, prefix + name, out, in, bias, options));
    linears_.push_back(std::move(linear));
    *slot = &linears_.back();
    return absl::OkStatus();
  };
  SWAGE_RETURN_IF_ERROR(add(&q_, d.names.q, width, d.hidden_size, d.qkv_bias));
  SWAGE_RETURN_IF_ERROR(add(&k_, d.names.k, kv_width, d.hidden_size, d.qkv_bias));
  SWAGE_RETURN_IF_ERROR(add(&v_, d.names.v, kv_width, d.hidden_size, d.qkv_bias));
  SWAGE_RETURN_IF_ERROR(add(&o_, d.names.o, d.hidden_size, width, d.o_bias));
  if (d.gated) {
    SWAGE_RETURN_IF_ERROR(
        add(&gate_, d.names.gate, d.intermediate_size, d.hidden_size, d.mlp_bias));
  }
  SWAGE_RETURN_IF_ERROR(add(&up_, d.names.up, d.intermediate_size, d.hidden_size, d.mlp_bias));
  SWAGE_RETURN_IF_ERROR(add(&down_, d.names.down, d.hidden_size, d.intermediate_size, d.mlp_bias));
  make_subsets();
  return absl::OkStatus();
}

absl::Status DecoderBlock::load_norm(const WeightSource& source, const std::string& module,
                                     const LoadOptions& options, Norm& norm) {
  norm.kind = description_.norm;
  norm.eps = description_.norm_eps;
  const auto add = [&](Parameter** slot, const std::string& name) -> absl::Status {
    SWAGE_ASSIGN_OR_RETURN(Parameter parameter,
                           load_parameter(source, name, {description_.hidden_size}, options));
    parameters_.push_back(std::move(parameter));
    *slot = &parameters_.back();
    return absl::OkStatus();
  };
  SWAGE_RETURN_IF_ERROR(add(&norm.weight, module + ".weight"));
  return norm.kind == NormKind::kLayer ? add(&norm.bias, module + ".bias") : absl::OkStatus();
}

void DecoderBlock::make_subsets() {
  const DecoderDescription& d = description_;
  const auto add = [&](const char* input, std::vector<Linear*> linears, FoldTarget fold,
                       bool inspect_module) {
    Subset subset;
    subset.name = subset.input = input;
    subset.linears = std::move(linears);
    subset.fold = std::move(fold);
    subset.inspect_module = inspect_module;
    subsets_.push_back(std::move(subset));
  };
  add(kAttentionInput, {q_, k_, v_}, norm_target(input_norm_), true);
  // Channel (head h, c) of o's input comes from row (h / group, c) of v.
  const at::Tensor kv_heads =
      at::arange(d.kv_heads, at::kLong).repeat_interleave(d.heads / d.kv_heads);
  const at::Tensor rows = kv_heads.unsqueeze(1) * d.head_dim + at::arange(d.head_dim, at::kLong);
  add(kAttentionOutput, {o_}, row_target(*v_, rows.flatten()), false);
  std::vector<Linear*> readers = {up_};
  if (d.gated) readers.insert(readers.begin(), gate_);
  add(kMlpInput, std::move(readers), norm_target(post_norm_), true);
  FoldTarget fold = row_target(*up_, at::arange(d.intermediate_size, at::kLong));
  if (!d.gated) {
    fold = {};
    fold.why_none = "an activation stands between " + up_->name + " and " + down_->name;
  }
  add(kMlpOutput, {down_}, std::move(fold), false);
}

at::Tensor DecoderBlock::attend(const at::Tensor& x, const Slots& slots) const {
  const DecoderDescription& d = description_;
  at::Tensor q = q_->apply(x).view({-1, d.heads, d.head_dim});
  at::Tensor k = k_->apply(x).view({-1, d.kv_heads, d.head_dim});
  const at::Tensor v = v_->apply(x).view({-1, d.kv_heads, d.head_dim});
  if (d.rope) {
    const RopeTable table = d.rope->table(slots.positions, slots.lengths, q);
    q = rotate(std::move(q), table);
    k = rotate(std::move(k), table);
  }
  const double scale =
      d.attention_scale != 0 ? d.attention_scale : 1.0 / std::sqrt(static_cast<double>(d.head_dim));
  return attention(q, k, v, slots.lengths, scale, d.window);
}

at::Tensor DecoderBlock::widen(const at::Tensor& x) const {
  const auto rows_of = [&](const at::Tensor& part) {
    if (gate_ == nullptr) return activate(description_.activation, up_->apply(part));
    at::Tensor gate = gate_->apply(part);
    return activate_gate(description_.activation, std::move(gate), up_->apply(part));
  };
  const int64_t rows = x.size(0);
  if (rows <= kWideRows || !kernels::fusable({&x})) return rows_of(x);
  // gate and up are wide: a few rows at a time stay in the cache between product and activation.
  at::Tensor wide = at::empty({rows, description_.intermediate_size}, x.options());
  for (int64_t begin = 0; begin < rows; begin += kWideRows) {
    const int64_t end = std::min(rows, begin + kWideRows);
    wide.slice(0, begin, end).copy_(rows_of(x.slice(0, begin, end)));
  }
  return wide;
}

void DecoderBlock::run_stage(int64_t stage, Slots& slots) {
  // The linear's output is ours to write to; the incoming hidden state may be the caller's.
  const auto add_to_hidden = [&](at::Tensor output) {
    slots[kHidden] = output.add_(slots.at(kHidden));
  };
  switch (stage) {
    case 0:
      slots[kAttentionInput] = input_norm_.apply(slots.at(kHidden));
      return;
    case 1:
      slots[kAttentionOutput] = attend(slots.take(kAttentionInput), slots);
      return;
    case 2:
      add_to_hidden(o_->apply(slots.take(kAttentionOutput)));
      slots[kMlpInput] = post_norm_.apply(slots.at(kHidden));
      return;
    case 3:
      slots[kMlpOutput] = widen(slots.take(kMlpInput));
      return;
    case 4:
      add_to_hidden(down_->apply(slots.take(kMlpOutput)));
      return;
    default:
      throw std::out_of_range(absl::StrCat("a decoder block has 5 stages, asked for ", stage));
  }
}

at::Tensor DecoderBlock::inspect(int64_t subset, const Slots& slots) {
  switch (subset) {
    case 0:
      return o_->apply(attend(slots.at(kAttentionInput), slots));
    case 1:
      return o_->apply(slots.at(kAttentionOutput));
    case 2:
      return down_->apply(widen(slots.at(kMlpInput)));
    case 3:
      return down_->apply(slots.at(kMlpOutput));
    default:
      throw std::out_of_range(absl::StrCat("a decoder block has 4 subsets, asked for ", subset));
  }
}

absl::StatusOr<std::unique_ptr<Block>> load_decoder_block(const DecoderDescription& description,
                                                          const BlockId& id,
                                                          const WeightSource& source,
                                                          const LoadOptions& options) {
  auto block = std::make_unique<DecoderBlock>(description, id);
  SWAGE_RETURN_IF_ERROR(block->load(source, options));
  return std::unique_ptr<Block>(std::move(block));
}

}  // namespace swage::nn
