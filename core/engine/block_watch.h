#pragma once
#include <c10/core/UndefinedTensorImpl.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "swage/block.h"

namespace swage {

// A block while a step works on it: what the step may not do to it is an error, what it writes past
// emit() and fold() is noticed. Quick looks see that a tensor is another one or that an operator
// wrote into it; digests see every bit.
class BlockWatch {
 public:
  // The block outlives the watch.
  explicit BlockWatch(Block& block);

  // Every linear and parameter is there with its name, shape, dtype and device, and what a quick
  // look finds written is finite. An error is a fault of the plugin, as below.
  absl::Status check();
  // The same of every bit, once the step is done: no result was set past emit(), no weight written
  // that an earlier step has quantized.
  absl::Status check_all();

  // Of the bits of weights, biases, transforms and parameters: what a pass through the block
  // depends on, beside results.
  std::string digest() const;

  // Did a quick look find anything written since the last one, other than linears that are still
  // `ahead` in a walk?
  bool written(const std::vector<const Linear*>& ahead);
  // What the host itself changed counts as seen.
  void accept();
  void emitted(const Linear& linear);

 private:
  using Weak = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  struct Look {
    explicit Look(const at::Tensor& tensor);
    bool operator==(const Look& other) const;
    Weak tensor;  // it holds no memory, but no other tensor gets its address
    uint32_t version;
  };
  struct Watched {
    const Linear* linear = nullptr;  // or
    const Parameter* parameter = nullptr;
    std::string name, kept_by;
    at::ScalarType storage = at::kFloat, type = at::kFloat;
    std::vector<int64_t> shape;
    at::Device device = at::kCPU;
    bool has_bias = false;
    const Result* result = nullptr;  // of an earlier step, or emitted since
    bool emitted = false;
    std::string bits, bias_bits, result_bits;
    std::vector<Look> seen, checked;

    const at::Tensor& value() const { return linear ? linear->weight : parameter->value; }
    at::Tensor bias() const { return linear ? linear->bias : at::Tensor(); }
    std::vector<Look> look() const { return {Look(value()), Look(bias())}; }
  };

  static Watched watch(const Linear& linear);
  static Watched watch(const Parameter& parameter);
  absl::Status check_structure() const;
  static absl::Status check_form(const Watched& watched);
  static absl::Status check_finite(const Watched& watched);

  Block& block_;
  std::vector<Watched> watched_;
  std::vector<std::vector<const Linear*>> subsets_;
};

}  // namespace swage
