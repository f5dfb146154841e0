#include "nn/mlp_part.h"

#include "nn/kernels.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr int64_t kWideRows = 512;

}  // namespace

absl::Status MlpPart::load(BlockReader& reader) {
  const DecoderDescription& d = description_;
  const int64_t wide = d.intermediate_size;
  Subset input;
  input.name = input.input = "mlp.input";
  input.inspect_module = true;
  if (d.gated && !d.fused_gate) {
    SWAGE_RETURN_IF_ERROR(reader.linear(d.names.gate, wide, d.hidden_size, d.mlp_bias, &gate_));
    input.linears.push_back(gate_);
  }
  SWAGE_RETURN_IF_ERROR(reader.linear(d.fused_gate ? d.names.gate_up : d.names.up,
                                      d.fused_gate ? 2 * wide : wide, d.hidden_size, d.mlp_bias,
                                      &up_));
  input.linears.push_back(up_);
  SWAGE_RETURN_IF_ERROR(reader.linear(d.names.down, d.hidden_size, wide, d.mlp_bias, &down_));
  Subset output;
  output.name = output.input = "mlp.output";
  output.linears = {down_};
  output.fold = output_fold();
  subsets = {std::move(input), std::move(output)};
  writers = {down_};
  return absl::OkStatus();
}

FoldTarget MlpPart::output_fold() const {
  const DecoderDescription& d = description_;
  FoldTarget fold;
  // A positive factor passes through max(0, x).
  if (!d.gated && d.activation != Activation::kRelu) {
    fold.why_none = "an activation stands between " + up_->name + " and " + down_->name;
    return fold;
  }
  fold.kind = FoldTarget::Kind::kLinearRows;
  fold.linear = up_;
  const int64_t first = d.fused_gate ? d.intermediate_size : 0;
  fold.row_of_channel = at::arange(first, first + d.intermediate_size, at::kLong);
  return fold;
}

at::Tensor MlpPart::widen_rows(const at::Tensor& x) const {
  const DecoderDescription& d = description_;
  at::Tensor up = up_->apply(x);
  if (!d.gated) return activate(d.activation, up);
  if (gate_ != nullptr) return activate_gate(d.activation, gate_->apply(x), up);
  return activate_gate(d.activation, up.slice(1, 0, d.intermediate_size).contiguous(),
                       up.slice(1, d.intermediate_size).contiguous());
}

at::Tensor MlpPart::widen(const at::Tensor& x) const {
  const int64_t rows = x.size(0);
  if (rows <= kWideRows || !kernels::fusable({&x})) return widen_rows(x);
  // gate and up are wide: a few rows at a time stay in the cache between product and activation.
  at::Tensor wide = at::empty({rows, description_.intermediate_size}, x.options());
  for (int64_t begin = 0; begin < rows; begin += kWideRows) {
    const int64_t end = std::min(rows, begin + kWideRows);
    wide.slice(0, begin, end).copy_(widen_rows(x.slice(0, begin, end)));
  }
  return wide;
}

at::Tensor MlpPart::run(size_t index, Slots& slots) const {
  if (index == 0) {
    slots[subsets[1].input] = widen(slots.at(input()));
    drop_input(slots);
    return {};
  }
  return down_->apply(slots.take(subsets[1].input));
}

}  // namespace swage::nn
