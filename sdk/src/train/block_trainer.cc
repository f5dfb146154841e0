#include "swage/train/block_trainer.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/optim/adamw.h>

#include <optional>

#include "swage/one_piece.h"
#include "swage/quant/search.h"
#include "swage/status.h"

namespace swage::train {
namespace {

// Single sequences of a micro-batch, as views; the whole of it where something was put aside, which
// belongs to all of them.
std::vector<Slots> split(const Slots& batch) {
  for (const auto& [name, tensor] : batch.tensors()) {
    if (batch.is_aside(name)) return {batch};
  }
  std::vector<Slots> sequences;
  int64_t first = 0;
  for (const int64_t length : batch.lengths) {
    Slots one;
    one.lengths = {length};
    if (batch.positions.defined()) one.positions = batch.positions.narrow(0, first, length);
    for (const auto& [name, tensor] : batch.tensors()) one[name] = tensor.narrow(0, first, length);
    sequences.push_back(std::move(one));
    first += length;
  }
  return sequences;
}

// LibTorch cuts work by the number of threads, and the ends of such cuts have other last bits: what
// has gradients is done in one piece around the products, which take all threads again.
at::Tensor output_of(Block& block, const Slots& input) {
  std::optional<OnePiece> alone;
  if (c10::GradMode::is_enabled()) alone.emplace();
  Slots slots = input;
  block.forward(slots);
  return slots.take(kHidden);
}

std::vector<at::Tensor> copies_of(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> copies;
  for (const at::Tensor& tensor : tensors) copies.push_back(tensor.detach().clone());
  return copies;
}

void put_back(const std::vector<at::Tensor>& copies, const std::vector<at::Tensor>& tensors) {
  const c10::AutoGradMode fixed(false);
  for (size_t i = 0; i < tensors.size(); ++i) at::Tensor(tensors[i]).copy_(copies[i]);
}

bool gradients_are_finite(const std::vector<at::Tensor>& parameters) {
  for (const at::Tensor& parameter : parameters) {
    const at::Tensor& gradient = parameter.grad();
    if (gradient.defined() && !gradient.isfinite().all().item<bool>()) return false;
  }
  return true;
}

}  // namespace

// Trial weights in the place of the floats, while the object lives. Gradients of the block stop at
// `leaves`, so that many sequences share one pass through the parameters.
class BlockTrainer::TrialWeights {
 public:
  explicit TrialWeights(const std::vector<TrainedLinear>& linears) : linears_(linears) {}

  absl::Status put(bool trains) {
    for (const TrainedLinear& trained : linears_) {
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor trial, trained.weight());
      trials_.push_back(trial);
      leaves_.push_back(trial.detach().requires_grad_(trains));
    }
    for (size_t i = 0; i < linears_.size(); ++i) {
      Linear& linear = *linears_[i].linear;
      floats_.push_back(linear.weight);
      linear.weight = leaves_[i];
      // A static scheme has no range yet.
      const std::shared_ptr<const Codec>& activation = linears_[i].activation;
      if (activation && activation->input_levels(-1, 1).empty())
        linear.input_quantizer = ActivationQuantizer{activation, {}};
    }
    return absl::OkStatus();
  }

  // From the leaves to the parameters.
  void backward() const {
    variable_list reached, gradients;
    for (size_t i = 0; i < leaves_.size(); ++i) {
      if (!leaves_[i].grad().defined()) continue;  // an expert that no token chose
      reached.push_back(trials_[i]);
      gradients.push_back(leaves_[i].grad());
    }
    if (!reached.empty()) torch::autograd::backward(reached, gradients);
  }

  ~TrialWeights() {
    for (size_t i = 0; i < floats_.size(); ++i) {
      linears_[i].linear->weight = floats_[i];
      linears_[i].linear->input_quantizer.reset();
    }
  }

 private:
  using variable_list = torch::autograd::variable_list;
  const std::vector<TrainedLinear>& linears_;
  std::vector<at::Tensor> trials_, leaves_, floats_;
};

BlockTrainer::BlockTrainer(Block& block, const std::vector<Slots>& inputs,
                           std::vector<TrainedLinear> linears)
    : block_(block), linears_(std::move(linears)) {
  const c10::AutoGradMode fixed(false);
  block.set_view(View::kFloat);
  for (const Slots& batch : inputs) {
    for (Slots& input : split(batch)) {
      Sequence sequence{std::move(input), {}};
      sequence.target = output_of(block, sequence.input);
      elements_ += sequence.target.numel();
      sequences_.push_back(std::move(sequence));
    }
  }
  block.set_view(View::kCompressed);
  for (const TrainedLinear& trained : linears_) trained.linear->set_view(View::kFloat);
}

BlockTrainer::~BlockTrainer() { block_.set_view(View::kFloat); }

absl::StatusOr<double> BlockTrainer::loss() {
  const c10::AutoGradMode fixed(false);
  TrialWeights trial(linears_);
  SWAGE_RETURN_IF_ERROR(trial.put(false));
  double sum = 0;
  for (const Sequence& sequence : sequences_) {
    const at::Tensor difference = output_of(block_, sequence.input) - sequence.target;
    sum += quant::inner_product(difference, difference);
  }
  return sum / static_cast<double>(elements_);
}

// Adds the gradients of `count` sequences to the parameters'.
absl::Status BlockTrainer::step(size_t first, size_t count) {
  const c10::AutoGradMode learning(true);
  TrialWeights trial(linears_);
  SWAGE_RETURN_IF_ERROR(trial.put(true));
  int64_t elements = 0;
  for (size_t i = first; i < first + count; ++i) elements += sequences_[i].target.numel();
  for (size_t i = first; i < first + count; ++i) {
    const at::Tensor output = output_of(block_, sequences_[i].input);
    if (!output.requires_grad()) continue;
    const OnePiece alone;
    output.backward((output.detach() - sequences_[i].target) *
                    (2.0 / static_cast<double>(elements)));
  }
  trial.backward();
  return absl::OkStatus();
}

absl::StatusOr<Fit> BlockTrainer::fit(const std::vector<at::Tensor>& parameters,
                                      const Schedule& schedule) {
  for (const Sequence& sequence : sequences_) {
    if (sequence.target.isfinite().all().item<bool>()) continue;
    return absl::InvalidArgumentError(
        "the float block's outputs on the calibration are not finite; the model overflows on this "
        "text");
  }
  torch::optim::AdamW optimizer(parameters,
                                torch::optim::AdamWOptions(schedule.learning_rate).weight_decay(0));
  Fit fit;
  SWAGE_ASSIGN_OR_RETURN(fit.initial, loss());
  fit.best = fit.initial;
  std::vector<at::Tensor> best = copies_of(parameters);
  const auto finish = [&] { return put_back(best, parameters), fit; };
  const auto at_once = static_cast<size_t>(schedule.sequences_per_step);
  for (int64_t epoch = 1; epoch <= schedule.epochs; ++epoch) {
    for (size_t first = 0; first < sequences_.size(); first += at_once) {
      optimizer.zero_grad();
      SWAGE_RETURN_IF_ERROR(step(first, std::min(at_once, sequences_.size() - first)));
      // Parameters would no longer be numbers, and be blamed for it.
      fit.overflowed = !gradients_are_finite(parameters);
      if (fit.overflowed) return finish();
      const OnePiece alone;
      optimizer.step();
    }
    SWAGE_ASSIGN_OR_RETURN(const double now, loss());
    if (!std::isfinite(now)) return finish();
    if (now >= fit.best) continue;
    fit.best = now;
    fit.best_epoch = epoch;
    best = copies_of(parameters);
  }
  return finish();
}

}  // namespace swage::train
