#include "core/engine/token_stream.h"

#include <ATen/ops/empty.h>

#include "absl/strings/str_cat.h"
#include "core/engine/opened_model.h"
#include "swage/border.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {

absl::Status embed(Embedding& embedding, const std::string& adapter, TokenStream& stream) {
  return guarded({adapter, "embed"}, [&] {
    const SequenceSet& sequences = *stream.sequences;
    for (const SequenceSet::Batch& batch : sequences.batches()) {
      Slots slots;
      slots.lengths = batch.lengths;
      slots.positions = batch.positions;
      SWAGE_RETURN_IF_ERROR(
          embedding.embed(sequences.ids().narrow(0, batch.first, batch.tokens), slots));
      const at::Tensor& rows = slots.at(kHidden);
      if (!stream.hidden.defined())
        stream.hidden = at::empty({sequences.token_count(), rows.size(1)}, rows.options());
      stream.hidden.narrow(0, batch.first, batch.tokens).copy_(rows);
    }
    return absl::OkStatus();
  });
}

absl::Status run_pass(Block& block, View view, const std::string& adapter, TokenStream& stream) {
  block.set_view(view);
  return guarded({adapter, absl::StrCat("forward of ", text_of(block.id()))}, [&] {
    for (const SequenceSet::Batch& batch : stream.sequences->batches()) {
      Slots slots = stream.sequences->slots(batch, stream.hidden);
      block.forward(slots);
      stream.hidden.narrow(0, batch.first, batch.tokens).copy_(slots.at(kHidden));
    }
    return absl::OkStatus();
  });
}

absl::Status save_streams(const std::string& file, const std::vector<TokenStream>& streams) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const TokenStream& stream : streams) {
    if (!stream.finished) tensors.emplace_back(stream.name, stream.hidden);
  }
  return io::write_safetensors(file, tensors);
}

absl::Status load_streams(const std::string& file, at::Device device,
                          std::vector<TokenStream>* streams) {
  SWAGE_ASSIGN_OR_RETURN(const auto source, io::open_safetensors({file}));
  for (TokenStream& stream : *streams) {
    if (stream.finished) continue;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor hidden, source->read(stream.name));
    if (hidden.dim() != 2 || hidden.size(0) != stream.sequences->token_count()) {
      return absl::DataLossError(absl::StrCat(
          file, ": \"", stream.name, "\" holds ", hidden.dim() == 2 ? hidden.size(0) : 0,
          " tokens, the run has ", stream.sequences->token_count()));
    }
    stream.hidden = hidden.to(device);
  }
  return absl::OkStatus();
}

}  // namespace swage
