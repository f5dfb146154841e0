#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/sequence_set.h"
#include "swage/model.h"

namespace swage {

// Which weights a stream has passed through: as loaded, floats after the steps, or the results.
enum class Role { kReference, kOriginal, kCompressed };

// A set of sequences with its hidden states at the current block border.
struct TokenStream {
  std::string name;  // "calibration.compressed"; also of its tensor in a state file
  Role role = Role::kReference;
  const SequenceSet* sequences = nullptr;  // outlives the stream
  at::Tensor hidden;                       // [tokens, hidden], compute dtype
  bool finished = false;                   // stands behind the last block already: no block is run
};

// From ids to the input of block 0.
absl::Status embed(Embedding& embedding, const std::string& adapter, TokenStream& stream);

// All stages of the block over every micro-batch; the output takes the input's place.
absl::Status run_pass(Block& block, View view, const std::string& adapter, TokenStream& stream);

// Hidden states of all streams that are not finished, at one border, in one file that is fsynced.
absl::Status save_streams(const std::string& file, const std::vector<TokenStream>& streams);
// DataLoss: the file does not hold what these streams need.
absl::Status load_streams(const std::string& file, at::Device device,
                          std::vector<TokenStream>* streams);

}  // namespace swage
