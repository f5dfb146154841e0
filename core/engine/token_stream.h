#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/sequence_set.h"
#include "swage/model.h"

namespace swage {

class OpenedModel;

// Which weights a stream has passed through: as loaded, floats after the steps, or the results.
enum class Role { kReference, kOriginal, kCompressed };

// A set of sequences with its hidden states at the current block border.
struct TokenStream {
  // One micro-batch of the tower that the stream is in.
  struct Batch {
    int64_t first = 0, rows = 0;  // of `hidden`; no rows: text in a tower of images
    Slots slots;                  // without kHidden: lengths, positions, what belongs to the tower
  };
  std::string name;  // "calibration.compressed"; also of its tensors in a state file
  Role role = Role::kReference;
  const SequenceSet* sequences = nullptr;  // outlives the stream
  std::string tower;                       // "" before the first one
  std::vector<Batch> batches;              // none in a tower that these sequences do not enter
  at::Tensor hidden;                       // [rows of all micro-batches, hidden], compute dtype
  bool finished = false;                   // stands behind the last block already: no block is run

  // A micro-batch as it enters the next block; its hidden states are a view.
  Slots slots(const Batch& batch) const;
};

// From what the sequences hold, and what the tower before has left, to the input of block 0. A
// stream without images enters the language tower only.
absl::Status enter(Embedding& embedding, const std::string& tower, const OpenedModel& model,
                   TokenStream& stream);

// All stages of the block over every micro-batch; the output takes the input's place.
absl::Status run_pass(Block& block, View view, const std::string& adapter, TokenStream& stream);
// Puts what a walk has left of every micro-batch (kHidden, slots of the tower) in its place.
void replace(std::vector<Slots> output, TokenStream& stream);

// What all streams that are not finished hold at one border, in one file that is fsynced.
absl::Status save_streams(const std::string& file, const std::vector<TokenStream>& streams);
// The same at a border within or behind `tower`. DataLoss: the file does not hold what these
// streams need.
absl::Status load_streams(const std::string& file, at::Device device, const std::string& tower,
                          std::vector<TokenStream>* streams);

}  // namespace swage
