#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "swage/block.h"
#include "swage/codec.h"
#include "swage/export.h"
#include "swage/model.h"
#include "swage/params.h"

namespace swage {

// Activations a step sees: none (data free), those of the float weights, or those of the compressed
// ones.
enum class Stream { kNone, kOriginal, kCompressed };

// What a step wants collected for every subset, and what it leaves. Collected once per subset, in a
// fixed order of summation. A value that is cheap to copy: setters leave copies as they are.
class SWAGE_API Needs {
 public:
  Needs();

  Needs& calibrate_on(Stream value);
  Needs& hessian();     // Σ xᵀx
  Needs& absmax();      // max |x| per channel
  Needs& mean_abs();    // mean |x| per channel
  Needs& square_sum();  // Σ x² per channel, the diagonal of the Hessian: what a weighted fit calls
                        // importance
  Needs& range();      // min and max over the whole tensor
  Needs& histogram();  // counts of values, for ranges that leave out a few of them
  // A subset of several experts comes whole, with statistics over all tokens, instead of expert by
  // expert with the tokens of each: for steps that fold.
  Needs& whole_inputs();
  // Results may carry a transform of their input at run time, which exporters are told before any
  // work.
  Needs& online_transforms();
  // Results may have sides, or masks, which exporters are told as well.
  Needs& sides();
  Needs& masks();
  // A micro-batch of about `tokens` tokens, spread evenly over the calibration windows, for
  // searches over inspect().
  Needs& sample(int64_t tokens);

  Stream stream() const;
  bool wants_hessian() const;
  bool wants_absmax() const;
  bool wants_mean_abs() const;
  bool wants_square_sum() const;
  bool wants_range() const;
  bool wants_histogram() const;
  bool wants_whole_inputs() const;
  bool leaves_online_transforms() const;
  bool leaves_sides() const;
  bool leaves_masks() const;
  int64_t sample_tokens() const;

 private:
  struct Fields;
  Fields& change();
  std::shared_ptr<const Fields> fields_;
};

// Statistics of one subset's input x [tokens, in]; only what Needs asked for is defined.
struct SWAGE_API SubsetStats {
  int64_t tokens = 0;
  at::Tensor hessian;           // [in, in] Σ xᵀx, symmetric, fp32 (fp64 when computing in fp64)
  at::Tensor absmax;            // [in] fp32
  at::Tensor mean_abs;          // [in] fp32
  at::Tensor square_sum;        // [in] fp32
  at::Tensor minimum, maximum;  // [1] fp32, over all tokens and channels
  // int64 [65536]: how many values are nearest to the bf16 number with these bits.
  at::Tensor histogram;
  Slots sample;  // the subset's input slot and what inspect() needs
};

// What block- and subset-level calls share.
class SWAGE_API StepContext {
 public:
  virtual ~StepContext();
  virtual Block& block() = 0;
  // What this linear is to become after [scheme], the step's own table and its overrides: its
  // format, the dtype of open scales and, where its scheme asks for them, the importance of its
  // columns and the weights that engines multiply together with it.
  virtual Target target(const Linear& linear) const = 0;
  // Of its input; null: that stays in floats.
  virtual std::shared_ptr<const Codec> activation_codec(const Linear& linear) const = 0;
  // Makes a copy of `result` the linear's result; name, provenance and activation scheme are filled
  // in when empty. It is of target() and activation_codec(), unless in floats. An algorithm that
  // still folds into this linear emits afterwards (from block_transform): a fold into an emitted
  // linear is an error.
  virtual absl::Status emit(Linear& linear, Result result) = 0;
  // A line in log, events and report: what a user should know (a Hessian that needed more damping,
  // say).
  virtual void note(std::string_view text) = 0;
  // Counter-based random 64-bit value: depends on the run's seed, step, block, subset and counter
  // alone.
  virtual uint64_t random(uint64_t counter) const = 0;
};

class SWAGE_API SubsetContext : public StepContext {
 public:
  virtual Subset& subset() = 0;
  // Linears of the subset to which the step applies.
  virtual const std::vector<Linear*>& linears() = 0;
  virtual const SubsetStats& stats() = 0;
  const at::Tensor& hessian() { return stats().hessian; }
  // Output of what a search compares, for the given inputs: Block::inspect, or the concatenated
  // outputs of linears().
  virtual at::Tensor inspect(const Slots& sample) = 0;

  // Divides the subset's input by scale [in] > 0 (compute dtype): folds 1/scale into the fold
  // target, multiplies columns of every reader, and keeps statistics and activations in step.
  // FailedPrecondition when the subset has no fold target.
  virtual absl::Status fold(const at::Tensor& scale) = 0;
};

class SWAGE_API BlockContext : public StepContext {
 public:
  // Micro-batches of the step's stream as they enter the block (kHidden). Clone what you change;
  // train on them freely.
  virtual const std::vector<Slots>& inputs() = 0;
  // Walks the stages and calls `visit` for every subset in order, with its statistics.
  virtual absl::Status for_each_subset(
      const std::function<absl::Status(SubsetContext&)>& visit) = 0;
};

class SWAGE_API ModelContext {
 public:
  virtual ~ModelContext();
  virtual const ModelShape& shape() const = 0;
  virtual Embedding& embedding() = 0;
  virtual Head& head() = 0;
  virtual void note(std::string_view text) = 0;
  virtual uint64_t random(uint64_t counter) const = 0;
};

// An algorithm is created from `const Params&` for every block anew, since a run that is resumed
// has no other: members know one block. What has to outlive it belongs into weights and slots. Only
// one that looked at embedding or head in model_transform() stays, since every start calls that
// again. Calls come in the order of the sweep, from one thread.
class SWAGE_API Algorithm {
 public:
  virtual ~Algorithm();
  virtual Needs needs() const { return {}; }
  virtual absl::Status model_transform(ModelContext&) { return absl::OkStatus(); }
  virtual absl::Status block_transform(
      BlockContext& block);  // default: subset_transform for every subset, in order
  virtual absl::Status subset_transform(SubsetContext& subset) = 0;

  // An ability that a later version of the host may ask for; null: it has none of this name.
  const void* query(std::string_view ability) const;

 protected:
  virtual const void* do_query(std::string_view ability) const;
};

}  // namespace swage
