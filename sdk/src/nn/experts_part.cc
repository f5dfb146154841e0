#include "nn/experts_part.h"

#include <ATen/ops/topk.h>

#include <tuple>

#include "nn/elementwise.h"
#include "swage/scheme.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

at::Tensor sigmoid_of(const at::Tensor& x) {
  return elementwise(x, [](const at::Tensor& piece) { return piece.sigmoid(); });
}

constexpr const char* kChoice = "router.choice";  // int64 [tokens, n]: experts that see a token
constexpr const char* kShare = "router.share";    // [tokens, n]: what their outputs count for
constexpr const char* kSum = "experts.sum";
constexpr const char* kInput = "expert.output";  // of the down projection at work

}  // namespace

absl::Status ExpertsPart::load(BlockReader& reader) {
  const Experts& e = experts_;
  SWAGE_RETURN_IF_ERROR(load_router(reader));
  all_.resize(static_cast<size_t>(e.count) + (e.shared_size > 0 ? 1 : 0));
  for (int64_t i = 0; i < e.count; ++i) {
    Expert& expert = all_[static_cast<size_t>(i)];
    expert.route = {kChoice, i};
    SWAGE_RETURN_IF_ERROR(load_expert(reader, absl::StrCat(e.names.experts, ".", i),
                                      e.intermediate_size, false, &expert));
  }
  if (e.shared_size > 0)
    SWAGE_RETURN_IF_ERROR(
        load_expert(reader, e.names.shared, e.shared_size, e.shared_bias, &all_.back()));
  add_subsets();
  return absl::OkStatus();
}

absl::Status ExpertsPart::load_router(BlockReader& reader) {
  const Experts& e = experts_;
  const int64_t hidden = description_.hidden_size;
  SWAGE_RETURN_IF_ERROR(reader.linear(e.names.router, e.count, hidden, false, &router_));
  router_->kept_by = kRouterRule;
  if (!e.names.correction_bias.empty())
    SWAGE_RETURN_IF_ERROR(reader.parameter(e.names.correction_bias, {e.count}, &correction_bias_));
  if (e.shared_size == 0 || e.names.shared_gate.empty()) return absl::OkStatus();
  SWAGE_RETURN_IF_ERROR(reader.linear(e.names.shared_gate, 1, hidden, false, &shared_gate_));
  shared_gate_->kept_by = kRouterRule;
  return absl::OkStatus();
}

absl::Status ExpertsPart::load_expert(BlockReader& reader, const std::string& name, int64_t width,
                                      bool bias, Expert* expert) {
  const Experts::Names& names = experts_.names;
  const int64_t hidden = description_.hidden_size;
  const std::string prefix = name + ".";
  SWAGE_RETURN_IF_ERROR(reader.linear(prefix + names.gate, width, hidden, bias, &expert->gate));
  SWAGE_RETURN_IF_ERROR(reader.linear(prefix + names.up, width, hidden, bias, &expert->up));
  return reader.linear(prefix + names.down, hidden, width, bias, &expert->down);
}

void ExpertsPart::add_subsets() {
  Subset input;
  input.name = input.input = "mlp.input";
  input.inspect_module = true;
  input.readers = {router_};
  if (shared_gate_ != nullptr) input.readers.push_back(shared_gate_);
  std::vector<Subset> outputs;
  at::Tensor channels;  // experts of one width share it
  for (const Expert& expert : all_) {
    if (!channels.defined() || channels.size(0) != expert.up->out())
      channels = at::arange(expert.up->out(), at::kLong);
    const std::string name =
        expert.route.empty() ? "shared" : absl::StrCat("experts.", expert.route.expert);
    input.linears.insert(input.linears.end(), {expert.gate, expert.up});
    Subset part;
    part.name = name + ".input";
    part.input = input.input;
    part.route = expert.route;
    part.linears = {expert.gate, expert.up};
    part.fold.why_none = "all experts and the router read " + input.name;
    input.parts.push_back(std::move(part));
    Subset output;
    output.name = name + ".output";
    output.input = kInput;
    output.route = expert.route;
    output.linears = {expert.down};
    output.fold.kind = FoldTarget::Kind::kLinearRows;
    output.fold.linear = expert.up;
    output.fold.row_of_channel = channels;
    outputs.push_back(std::move(output));
    writers.push_back(expert.down);
  }
  subsets.push_back(std::move(input));
  for (Subset& output : outputs) subsets.push_back(std::move(output));
}

// Scores by which experts are chosen: those of groups that lose are out of reach.
at::Tensor ExpertsPart::choice_scores(const at::Tensor& scores) const {
  const Experts& e = experts_;
  const at::Tensor biased = correction_bias_ != nullptr ? scores + correction_bias_->value : scores;
  if (e.active_groups >= e.groups) return biased;
  const at::Tensor grouped = biased.view({-1, e.groups, e.count / e.groups});
  const at::Tensor of_group = e.group_score == Experts::GroupScore::kGreatest
                                  ? grouped.amax(2)
                                  : std::get<0>(at::topk(grouped, 2, 2)).sum(2);
  const at::Tensor winners = std::get<1>(at::topk(of_group, e.active_groups, 1));
  const at::Tensor open = at::zeros_like(of_group, at::kBool).scatter(1, winners, true);
  return grouped
      .masked_fill(open.logical_not().unsqueeze(2), -std::numeric_limits<double>::infinity())
      .flatten(1);
}

void ExpertsPart::prepare(Slots& slots) const {
  const Experts& e = experts_;
  const at::Tensor logits = router_->apply(slots.at(input()));
  const at::Tensor scores =
      e.score == Experts::Score::kSoftmax ? logits.softmax(1) : sigmoid_of(logits);
  const int64_t asked = slots.experts_seen < 0 ? e.count : slots.experts_seen;
  const int64_t seen = std::min(std::max(asked, e.active), e.count);
  const at::Tensor choice = std::get<1>(at::topk(choice_scores(scores), seen, 1));
  at::Tensor share = scores.gather(1, choice.slice(1, 0, e.active));
  if (e.normalized) share = share / (share.sum(1, true) + 1e-20);
  if (e.scale != 1.0) share = share * e.scale;
  if (seen > e.active)
    share = at::cat({share, at::zeros({share.size(0), seen - e.active}, share.options())}, 1);
  slots[kChoice] = choice;
  slots[kShare] = share;
}

void ExpertsPart::put_input(const Expert& expert, Slots& slots) const {
  const auto widen = [&](const at::Tensor& x) {
    return activate_gate(description_.activation, expert.gate->apply(x), expert.up->apply(x));
  };
  const at::Tensor x = slots.at(input());
  if (expert.route.empty()) {
    slots[kInput] = widen(x);
  } else {
    slots.put_routed(kInput, widen(x.index_select(0, slots.rows_of(expert.route))), expert.route);
  }
}

void ExpertsPart::add_output(const Expert& expert, Slots& slots) const {
  at::Tensor output = expert.down->apply(slots.take(kInput));
  if (expert.route.empty()) {
    if (shared_gate_ != nullptr)
      output = output * sigmoid_of(shared_gate_->apply(slots.at(input())));
    slots[kSum] = slots.take(kSum) + output;
    return;
  }
  const at::Tensor rows = slots.rows_of(expert.route);
  const at::Tensor chosen = slots.at(kChoice).index_select(0, rows).eq(expert.route.expert);
  const at::Tensor share = (slots.at(kShare).index_select(0, rows) * chosen).sum(1, true);
  const at::Tensor sum = slots.has(kSum) ? slots.take(kSum) : at::zeros_like(slots.at(input()));
  slots[kSum] = sum.index_add(0, rows, output * share);
}

at::Tensor ExpertsPart::run(size_t index, Slots& slots) const {
  if (index > 0) add_output(all_[index - 1], slots);
  if (index < all_.size()) {
    put_input(all_[index], slots);
    return {};
  }
  drop_input(slots);
  slots.erase(kChoice);
  slots.erase(kShare);
  return slots.take(kSum);
}

}  // namespace swage::nn
