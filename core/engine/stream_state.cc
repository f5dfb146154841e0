// Streams in a state file: "<stream>" holds the hidden states. Where the micro-batches hold more
// than that (they then are single sequences, whatever micro_batch says) "<stream>/<i>/lengths",
// "<stream>/<i>/positions" and "<stream>/<i>/<slot>" follow, with "/aside" behind what was put
// aside.
#include <ATen/ops/tensor.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/engine/token_stream.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr const char* kLengths = "lengths";
constexpr const char* kPositions = "positions";
constexpr const char* kAside = "/aside";

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

void add_batches(const TokenStream& stream, Tensors* tensors) {
  for (size_t i = 0; i < stream.batches.size(); ++i) {
    const Slots& slots = stream.batches[i].slots;
    const std::string prefix = absl::StrCat(stream.name, "/", i, "/");
    tensors->emplace_back(prefix + kLengths, at::tensor(slots.lengths, at::kLong));
    if (slots.positions.defined()) tensors->emplace_back(prefix + kPositions, slots.positions);
    for (const auto& [name, tensor] : slots.tensors())
      tensors->emplace_back(prefix + name + (slots.is_aside(name) ? kAside : ""), tensor);
  }
}

absl::StatusOr<TokenStream::Batch> read_batch(const WeightSource& source, const std::string& prefix,
                                              int64_t first, at::Device device) {
  TokenStream::Batch batch;
  batch.first = first;
  for (const std::string& stored : source.names()) {
    if (!absl::StartsWith(stored, prefix)) continue;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, source.read(stored));
    std::string name = stored.substr(prefix.size());
    if (name == kLengths) {
      const auto* lengths = tensor.const_data_ptr<int64_t>();
      batch.slots.lengths.assign(lengths, lengths + tensor.numel());
    } else if (name == kPositions) {
      batch.slots.positions = tensor.to(device);
    } else if (absl::EndsWith(name, kAside)) {
      batch.slots.put_aside(name.substr(0, name.size() - std::string(kAside).size()),
                            tensor.to(device));
    } else {
      batch.slots[name] = tensor.to(device);
    }
  }
  batch.rows = batch.slots.tokens();
  return batch;
}

absl::Status read_batches(const WeightSource& source, at::Device device, TokenStream* stream) {
  stream->batches.clear();
  int64_t first = 0;
  for (size_t i = 0; i < stream->sequences->batches().size(); ++i) {
    if (!stream->sequences->has_inputs()) {
      const SequenceSet::Batch& batch = stream->sequences->batches()[i];
      Slots slots = stream->sequences->slots(batch);
      slots.keep_border();
      stream->batches.push_back({batch.first, batch.tokens, std::move(slots)});
    } else {
      SWAGE_ASSIGN_OR_RETURN(
          auto batch, read_batch(source, absl::StrCat(stream->name, "/", i, "/"), first, device));
      first += batch.rows;
      stream->batches.push_back(std::move(batch));
    }
  }
  return absl::OkStatus();
}

int64_t row_count(const TokenStream& stream) {
  return stream.batches.empty() ? 0 : stream.batches.back().first + stream.batches.back().rows;
}

}  // namespace

absl::Status save_streams(const std::string& file, const std::vector<TokenStream>& streams) {
  Tensors tensors;
  for (const TokenStream& stream : streams) {
    if (stream.finished || stream.batches.empty()) continue;
    tensors.emplace_back(stream.name, stream.hidden);
    if (stream.sequences->has_inputs()) add_batches(stream, &tensors);
  }
  return io::write_safetensors(file, tensors);
}

absl::Status load_streams(const std::string& file, at::Device device, const std::string& tower,
                          std::vector<TokenStream>* streams) {
  SWAGE_ASSIGN_OR_RETURN(const auto source, io::open_safetensors({file}));
  for (TokenStream& stream : *streams) {
    const bool outside = tower != kLanguage && !stream.sequences->has_pictures();
    if (stream.finished || outside) continue;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor hidden, source->read(stream.name));
    SWAGE_RETURN_IF_ERROR(read_batches(*source, device, &stream));
    if (hidden.dim() != 2 || hidden.size(0) != row_count(stream)) {
      return absl::DataLossError(absl::StrCat(file, ": \"", stream.name, "\" holds ",
                                              hidden.dim() == 2 ? hidden.size(0) : 0,
                                              " tokens, the run has ", row_count(stream)));
    }
    stream.hidden = hidden.to(device);
    stream.tower = tower;
  }
  return absl::OkStatus();
}

}  // namespace swage
