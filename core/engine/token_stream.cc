#include "core/engine/token_stream.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include "absl/strings/str_cat.h"
#include "core/engine/loaded_check.h"
#include "core/engine/opened_model.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/status.h"

namespace swage {
namespace {

// What the embedding of `tower` finds (model.h), for one micro-batch.
Slots entrance(const TokenStream& stream, const std::string& tower, size_t index) {
  const SequenceSet& sequences = *stream.sequences;
  const SequenceSet::Batch& batch = sequences.batches()[index];
  Slots slots;
  if (tower == kLanguage) {
    slots = sequences.slots(batch);
  } else if (!stream.tower.empty()) {
    return stream.slots(stream.batches[index]);
  }
  if (batch.inputs != nullptr) {
    for (const auto& [name, tensor] : *batch.inputs) slots.put_aside(name, tensor);
  }
  if (stream.batches.empty() || stream.batches[index].rows == 0) return slots;
  const Slots left = stream.slots(stream.batches[index]);
  for (const auto& [name, tensor] : left.tensors())
    slots.put_aside(name == kHidden ? kFeatures : name, tensor);
  return slots;
}

// Puts what stands behind a block into its place. A projector's output has another width than its
// input: it then gets a tensor of its own.
void leave(Slots slots, TokenStream::Batch& batch, at::Tensor* hidden) {
  const at::Tensor rows = slots.take(kHidden);
  if (rows.size(1) != hidden->size(1))
    *hidden = at::empty({hidden->size(0), rows.size(1)}, rows.options());
  hidden->narrow(0, batch.first, batch.rows).copy_(rows);
  batch.slots = std::move(slots);
}

}  // namespace

Slots TokenStream::slots(const Batch& batch) const {
  Slots slots = batch.slots;
  slots[kHidden] = hidden.narrow(0, batch.first, batch.rows);
  return slots;
}

absl::Status enter(Embedding& embedding, const std::string& tower, const OpenedModel& model,
                   TokenStream& stream) {
  if (tower != kLanguage && !stream.sequences->has_pictures()) return absl::OkStatus();
  const CallSite site =
      adapter_site(model.adapter_name(), absl::StrCat("embedding of the ", tower, " tower"));
  const int64_t width = tower == kLanguage ? model.shape().hidden_size : 0;
  return call_plugin(site, [&] {
    std::vector<TokenStream::Batch> batches;
    at::Tensor hidden;
    std::vector<at::Tensor> parts;
    int64_t first = 0;
    for (size_t i = 0; i < stream.sequences->batches().size(); ++i) {
      const SequenceInputs* const inputs = stream.sequences->batches()[i].inputs;
      if (tower != kLanguage && inputs->empty()) {  // text among images
        batches.push_back({first, 0, {}});
        continue;
      }
      Slots slots = entrance(stream, tower, i);
      SWAGE_RETURN_IF_ERROR(embedding.embed(slots));
      if (!slots.has(kHidden)) return plugin_fault("it leaves no slot \"hidden\"");
      SWAGE_RETURN_IF_ERROR(
          check_rows("slot \"hidden\"", slots.at(kHidden), slots.tokens(), width));
      const at::Tensor rows = slots.take(kHidden);
      slots.keep_border();
      if (tower == kLanguage) {
        // The width is known now, and nothing grows: no second copy of the states is needed.
        if (!hidden.defined())
          hidden = at::empty({stream.sequences->token_count(), rows.size(1)}, rows.options());
        hidden.narrow(0, first, rows.size(0)).copy_(rows);
      } else {
        parts.push_back(rows);
      }
      batches.push_back({first, rows.size(0), std::move(slots)});
      first += rows.size(0);
    }
    if (tower != kLanguage) {
      // A tensor of the stream's own, even if there is one part: slots may hold the rows too.
      hidden = at::cat(parts);
    }
    stream.batches = std::move(batches);
    stream.hidden = std::move(hidden);
    stream.tower = tower;
    return absl::OkStatus();
  });
}

absl::Status run_pass(Block& block, View view, const std::string& adapter, TokenStream& stream) {
  block.set_view(view);
  const int64_t width = block.id().tower == kLanguage ? stream.hidden.size(1) : 0;
  const CallSite site = adapter_site(adapter, absl::StrCat("forward of ", text_of(block.id())));
  return call_plugin(site, [&]() -> absl::Status {
    at::Tensor hidden = stream.hidden;
    for (TokenStream::Batch& batch : stream.batches) {
      if (batch.rows == 0) continue;
      Slots slots = stream.slots(batch);
      block.forward(slots);
      SWAGE_RETURN_IF_ERROR(check_rows("the block's output", slots.at(kHidden), batch.rows, width));
      slots.keep_border();
      leave(std::move(slots), batch, &hidden);
    }
    stream.hidden = std::move(hidden);
    return absl::OkStatus();
  });
}

void replace(std::vector<Slots> output, TokenStream& stream) {
  auto next = output.begin();
  for (TokenStream::Batch& batch : stream.batches) {
    if (batch.rows > 0) leave(std::move(*next++), batch, &stream.hidden);
  }
}

}  // namespace swage
