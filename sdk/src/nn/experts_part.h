#pragma once
#include "nn/part.h"
#include "swage/nn/decoder.h"

namespace swage::nn {

// A router and the experts it chooses, one after the other, so that one expert's activations lie in
// memory at a time.
class ExpertsPart final : public Part {
 public:
  explicit ExpertsPart(const DecoderDescription& description)
      : description_(description), experts_(*description.experts) {}

  absl::Status load(BlockReader& reader);
  void prepare(Slots& slots) const override;
  at::Tensor run(size_t index, Slots& slots) const override;

 private:
  struct Expert {
    Linear *gate = nullptr, *up = nullptr, *down = nullptr;
    Route route;  // empty: the shared expert
  };

  absl::Status load_expert(BlockReader& reader, const std::string& name, int64_t width, bool bias,
                           Expert* expert);
  absl::Status load_router(BlockReader& reader);
  void add_subsets();
  at::Tensor choice_scores(const at::Tensor& scores) const;
  void put_input(const Expert& expert, Slots& slots) const;   // of the expert's down
  void add_output(const Expert& expert, Slots& slots) const;  // to the sum

  DecoderDescription description_;
  Experts experts_;
  Linear *router_ = nullptr, *shared_gate_ = nullptr;
  Parameter* correction_bias_ = nullptr;
  std::vector<Expert> all_;  // the shared one last, as the published models add them
};

}  // namespace swage::nn
