#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>

#include "swage/export.h"
#include "swage/input_transform.h"
#include "swage/result.h"

namespace swage {

// A tensor of a block that is no linear weight (norms, gates …). `value` is in the compute dtype;
// `storage` is the dtype in which the checkpoint holds it and exporters write it.
struct SWAGE_API Parameter {
  std::string name;  // tensor name in the checkpoint
  at::Tensor value;
  at::ScalarType storage = at::kFloat;
};

// Which weights a forward pass uses: the (possibly transformed) floats, or the emitted results
// where there are any.
enum class View { kFloat, kCompressed };

// x Wᵀ + b for x [rows, in]; `bias` may be undefined. A row's bytes do not depend on how many rows
// there are.
SWAGE_API at::Tensor affine(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// y = x Wᵀ + b. Every linear of a model is called only through apply(), where activation
// quantization hooks in. The fields are the working state through which steps compose: any step may
// change them.
class SWAGE_API Linear {
 public:
  std::string name;   // module path; tensors are name + ".weight", name + ".bias"
  at::Tensor weight;  // [out, in], compute dtype (fp32 at least)
  at::Tensor bias;    // [out] or undefined
  at::ScalarType storage = at::kFloat;
  // Range limits per group, fp32 [out, groups], both or none: values outside are clamped before a
  // range is taken and before codes are computed.
  at::Tensor clip_low, clip_high;
  // bool [out, in] or undefined; false: the weight is pruned, and every solver leaves it at zero.
  at::Tensor mask;
  // Of the input, `weight` then counts on it; null: none. A result that names none takes it over.
  std::shared_ptr<const InputTransform> online_transform;
  std::optional<ActivationQuantizer>
      input_quantizer;  // of view kFloat, while a step trains through it
  std::string kept_by;  // rule by which this linear is not compressed ("" = it is to be)

  int64_t out() const { return weight.size(0); }
  int64_t in() const { return weight.size(1); }

  // x [tokens, in] -> [tokens, out]. In view kCompressed a linear with a result uses the decoded
  // weight and quantizes transforms and quantizes its input as the result says; otherwise the
  // floats. Differentiable in both x and weight.
  at::Tensor apply(const at::Tensor& x) const;

  // The result of the last step that emitted one; null before.
  const std::shared_ptr<const Result>& result() const { return result_; }
  // Checks and takes the result, decodes it once. The weight in `weight` stays as it is. A mask of
  // the linear that the result lacks becomes the result's.
  absl::Status set_result(Result result);
  // Weight of the given view, compute dtype; of a result what multiplies the quantized input.
  const at::Tensor& effective_weight() const;
  void set_view(View view) { view_ = view; }
  // Frees the float weight where a result exists (the engine calls it once no float pass follows).
  void drop_float();

 private:
  std::shared_ptr<const Result> result_;
  at::Tensor decoded_, raw_;  // raw_: what multiplies the raw input, undefined where nothing does
  std::shared_ptr<const InputTransform> result_transform_;
  View view_ = View::kFloat;
};

}  // namespace swage
