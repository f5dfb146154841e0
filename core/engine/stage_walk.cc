#include "core/engine/stage_walk.h"

#include <ATen/ops/aminmax.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/engine/end_block.h"
#include "core/engine/loaded_check.h"
#include "core/engine/opened_model.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/stats/accumulator.h"
#include "swage/status.h"
#include "swage/transform/online.h"

namespace swage {
namespace {

// What reaches the subset's linears of one micro-batch, transformed as they ask for, and how many
// rows of each sequence.
struct SubsetInput {
  at::Tensor x;
  std::vector<int64_t> lengths;
};

SubsetInput input_of(const Subset& subset, const Slots& slots) {
  const at::Tensor& x = slots.at(subset.input);
  const auto& transform = subset.linears.front()->online_transform;
  const auto transformed = [&](const at::Tensor& rows) {
    return transform ? transform->apply(rows) : rows;
  };
  if (slots.is_aside(subset.input)) return {transformed(x), {x.size(0)}};
  if (subset.route.empty()) return {transformed(x), slots.lengths};
  // Rows go up: those of one sequence lie together.
  const at::Tensor rows = slots.rows_of(subset.route).to(at::kCPU);
  const bool routed = slots.is_routed(subset.input);
  SubsetInput input{transformed(routed ? x : x.index_select(0, rows.to(x.device()))), {}};
  const int64_t* row = rows.const_data_ptr<int64_t>();
  const int64_t* const end = row + rows.numel();
  int64_t limit = 0;
  for (const int64_t length : slots.lengths) {
    limit += length;
    const int64_t* const next = std::lower_bound(row, end, limit);
    input.lengths.push_back(next - row);
    row = next;
  }
  return input;
}

absl::Status check_finite(const Subset& subset, const SubsetStats& stats) {
  for (const at::Tensor& tensor : {stats.mean_abs, stats.absmax, stats.maximum}) {
    if (tensor.defined() && !tensor.isfinite().all().item<bool>()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the calibration gives activations in front of ", subset.name,
                       " that are not finite; the model overflows on this text"));
    }
  }
  if (stats.hessian.defined() && !stats.hessian.diagonal().isfinite().all().item<bool>())
    return absl::InvalidArgumentError(absl::StrCat(
        "the calibration gives activations in front of ", subset.name,
        " that are not finite, or whose squares leave the range of their dtype; the model "
        "overflows on this text, or needs [run] compute = \"float64\""));
  return absl::OkStatus();
}

}  // namespace

StageWalk::StageWalk(Block& block, const TokenStream& stream, View view, const std::string& adapter,
                     int64_t experts_seen)
    : block_(block), stream_(stream), experts_seen_(experts_seen), view_(view), adapter_(adapter) {
  enter();
}

void StageWalk::enter() {
  batches_.clear();
  for (const TokenStream::Batch& batch : stream_.batches) {
    if (batch.rows == 0) continue;
    batches_.push_back(stream_.slots(batch));
    batches_.back().experts_seen = experts_seen_;
  }
}

absl::Status StageWalk::restart(int64_t stage) {
  enter();
  for (int64_t i = 0; i <= stage; ++i) SWAGE_RETURN_IF_ERROR(run_stage(i));
  return absl::OkStatus();
}

absl::Status StageWalk::run_stage(int64_t stage) {
  block_.set_view(view_);
  const auto phase = absl::StrCat("stage ", stage, " of ", text_of(block_.id()));
  return call_plugin(adapter_site(adapter_, phase), [&]() -> absl::Status {
    for (Slots& slots : batches_) {
      block_.run_stage(stage, slots);
      SWAGE_RETURN_IF_ERROR(check_stage(block_, stage, slots));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<SubsetStats> StageWalk::measure(const Subset& subset, const Needs& needs) const {
  const at::Tensor& first = batches_.front().at(subset.input);
  stats::Accumulator sums(needs, first.size(1), first.scalar_type(), first.device());
  for (const Slots& slots : batches_) {
    const SubsetInput input = input_of(subset, slots);
    sums.add(input.x, input.lengths);
  }
  SubsetStats stats = sums.finish();
  if (needs.sample_tokens() > 0) stats.sample = sample(needs.sample_tokens());
  SWAGE_RETURN_IF_ERROR(check_finite(subset, stats));
  return stats;
}

Slots StageWalk::sample(int64_t tokens) const {
  if (block_.id().tower != kLanguage && !is_end(block_.id())) {
    // A patch sees all of its image: whole ones, as many as are needed.
    std::vector<Slots> images;
    for (int64_t taken = 0; taken < tokens && images.size() < batches_.size();)
      taken += images.emplace_back(batches_[images.size()]).tokens();
    return Slots::concatenate(images);
  }
  int64_t sequences = 0;
  for (const Slots& slots : batches_) sequences += static_cast<int64_t>(slots.lengths.size());
  const int64_t of_each = std::max<int64_t>(1, tokens / std::max<int64_t>(1, sequences));
  std::vector<Slots> parts;
  for (const Slots& slots : batches_) parts.push_back(slots.prefix(of_each));
  return Slots::concatenate(parts);
}

void StageWalk::divide_input(const Subset& subset, const at::Tensor& scale, SubsetStats& stats) {
  at::Tensor least, greatest, counts;
  for (Slots& slots : batches_) {
    at::Tensor& x = slots[subset.input];
    x = x / scale.to(x.scalar_type());
    if (!stats.minimum.defined()) continue;
    const at::Tensor reached = input_of(subset, slots).x;
    if (reached.numel() == 0) continue;
    const auto [low, high] = at::aminmax(reached);
    least = least.defined() ? at::minimum(least, low) : low;
    greatest = greatest.defined() ? at::maximum(greatest, high) : high;
    if (!stats.histogram.defined()) continue;
    const at::Tensor some = stats::bf16_counts(reached);
    counts = counts.defined() ? counts + some : some;
  }
  if (stats.minimum.defined()) {
    stats.minimum = least.to(at::kFloat).view({1});
    stats.maximum = greatest.to(at::kFloat).view({1});
  }
  if (stats.histogram.defined()) stats.histogram = counts;
  const auto divide = [&](at::Tensor& tensor) {
    if (tensor.defined()) tensor.div_(scale.to(tensor.scalar_type()));
  };
  divide(stats.absmax);
  divide(stats.mean_abs);
  divide(stats.square_sum);
  divide(stats.square_sum);
  divide(stats.hessian);
  if (stats.hessian.defined())
    stats.hessian.div_(scale.to(stats.hessian.scalar_type()).unsqueeze(1));
  if (stats.sample.has(subset.input)) {
    at::Tensor& x = stats.sample[subset.input];
    x = x / scale.to(x.scalar_type());
  }
}

std::vector<Slots> StageWalk::take_output() {
  for (Slots& slots : batches_) {
    slots.keep_border();
    slots.experts_seen = 0;
  }
  return std::exchange(batches_, {});
}

}  // namespace swage
