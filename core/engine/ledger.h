#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/catalog/manifest.h"
#include "swage/exporter.h"
#include "swage/io/safetensors_header.h"
#include "swage/model.h"

namespace swage {

// Embedding or head of the language model, as a linear that steps may compress.
struct ModelEnd {
  LinearPlace place = LinearPlace::kHead;
  std::string name;  // module
  int64_t out = 0, in = 0;
  at::ScalarType storage = at::kFloat;
  bool tied = false;    // a head without a matrix of its own
  std::string why_not;  // not empty: the adapter makes no linear of it
  std::string kept_by;  // not empty: no step may take it, and by which rule
};

// What became of every tensor of a checkpoint, known before any weight is read: placed (a part of
// the model holds it), carried (no part needs it, a rule names it: exports get it bit for bit) or
// refused.
struct Ledger {
  // In order; what a part of the model holds.
  std::set<std::string> placed;
  std::vector<ModelEnd> ends;
  std::vector<std::string> routed;             // linears that some tokens reach only: of experts
  std::map<std::string, std::string> carried;  // tensor -> the rule
  std::map<std::string, std::string> refused;  // tensor -> why it would be lost
  // Why parts cannot be loaded, "block 5: tensor … is missing": one line a fault.
  std::vector<std::string> unloadable;
  bool is_whole = true;        // all parts could be loaded, but for these faults
  bool plugin_failed = false;  // a plugin threw, say: the fault is its own

  // InvalidArgument names everything above that ends a run.
  absl::Status status(const std::string& path, const std::string& adapter) const;
};

// "782 tensors, which no part of the model needs: 780 draft layer, …".
std::string carried_text(const Ledger& ledger);

// "model.layers.*.mlp.up_proj.weight": numbers left out.
std::string family_of(const std::string& tensor);

// What decides about tensors that no part holds.
struct LedgerRules {
  ComponentManifest manifest;           // of the adapter, over names as the checkpoint spells them
  int64_t draft_layers = 0;             // behind the last block, as config.json says
  std::string also_placed;              // a head that equals the embedding which it is tied to
  std::set<std::string> reported = {};  // tensors that are missing, which has been said
};

// Loads all parts of the model from the shapes of `header` (ShapeSource): what the adapter holds is
// placed. The adapter is open.
absl::StatusOr<Ledger> account(ModelAdapter& adapter, const std::string& name,
                               const io::Header& header, const LedgerRules& rules);

// The tensor of the embedding that the adapter's head reads in place of its own; "" where it reads
// none.
absl::StatusOr<std::string> embedding_of_head(ModelAdapter& adapter, const std::string& name,
                                              const io::Header& header);

}  // namespace swage
