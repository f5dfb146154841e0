#pragma once
#include <ATen/core/Tensor.h>

#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "swage/export.h"
#include "swage/linear.h"

namespace swage {

// The tokens that reach an expert, or another module that some pass by: those in whose row of slot
// `slot` (int64 [tokens, n]) `expert` stands. Empty: all.
struct SWAGE_API Route {
  std::string slot;
  int64_t expert = 0;
  bool empty() const { return slot.empty(); }
};

// One micro-batch: whole token sequences laid end to end. Every slot is a tensor whose first
// dimension is the token; where it was put with a route, the tokens of that route in ascending
// order; where it was put aside, rows of its own (features of the images of a sequence), which
// belong to the micro-batch as a whole.
class SWAGE_API Slots {
 public:
  std::vector<int64_t>
      lengths;           // tokens of each sequence; their sum is the row count of every slot
  at::Tensor positions;  // int64 [tokens], position of each token in its sequence
  // How many experts see a token while statistics are taken: 0 those it is routed to, n the n it
  // scores highest, -1 all. Those beyond its own get it with weight 0: outputs stay what they are.
  int64_t experts_seen = 0;

  bool has(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }
  const at::Tensor& at(std::string_view name) const;  // throws std::out_of_range, naming the slot
  at::Tensor& operator[](std::string_view name);      // makes an undefined tensor where absent
  at::Tensor take(std::string_view name);             // moves it out: the slot is gone
  void put_routed(std::string_view name, at::Tensor value, Route route);
  bool is_routed(std::string_view name) const { return routes_.find(name) != routes_.end(); }
  void put_aside(std::string_view name, at::Tensor value);
  bool is_aside(std::string_view name) const { return aside_.find(name) != aside_.end(); }
  at::Tensor rows_of(
      const Route& route) const;  // int64, ascending: the tokens of a route; all where it is empty
  void erase(std::string_view name);
  int64_t tokens() const;
  // Keeps what stands between two blocks: kHidden, and the slots of the tower (is_of_tower).
  void keep_border();
  // The first `count` tokens of every sequence (shorter ones whole): a causal model computes the
  // same for them. Slots put aside stay whole.
  Slots prefix(int64_t count) const;
  // Micro-batches with the same slots, one after the other.
  static Slots concatenate(const std::vector<Slots>& parts);
  const std::map<std::string, at::Tensor, std::less<>>& tensors() const { return tensors_; }

 private:
  std::map<std::string, at::Tensor, std::less<>> tensors_;
  std::map<std::string, Route, std::less<>> routes_;  // of the slots that hold some tokens only
  std::set<std::string, std::less<>> aside_;
};

inline constexpr std::string_view kHidden =
    "hidden";  // the residual stream: a block reads and writes it
inline constexpr std::string_view kIds =
    "ids";  // int64 [tokens], for the embedding of the language tower
// Slots of a tower begin with "tower.": its embedding or a block puts them, and every later block
// finds them, as does the embedding of the next tower.
inline constexpr std::string_view kTowerSlot = "tower.";
inline bool is_of_tower(std::string_view name) {
  return name.substr(0, kTowerSlot.size()) == kTowerSlot;
}
// int64 [tokens, axes]: positions of a token along several axes, in place of Slots::positions.
inline constexpr std::string_view kPlaces = "tower.places";
// Put aside, for the embedding of the language tower: what the tower before it has left, [features,
// hidden size].
inline constexpr std::string_view kFeatures = "tower.features";

// Where a per-channel scale of a subset's input can be folded: the input becomes x / s, so the op
// in front of it is divided by s and every reader's columns are multiplied by s (models.md-type
// rules: norms, GQA v rows, up rows).
struct SWAGE_API FoldTarget {
  enum class Kind { kNone, kNorm, kLinearRows };
  Kind kind = Kind::kNone;
  std::string why_none;              // kNone: the reason, for messages ("gelu between fc1 and fc2")
  Parameter* norm_weight = nullptr;  // kNorm
  Parameter* norm_bias = nullptr;    // kNorm, may be null
  bool norm_offset = false;          // kNorm: the op multiplies by 1 + weight (Gemma)
  Linear* linear = nullptr;          // kLinearRows: rows (and bias) of this linear
  int64_t head_dim = 0;  // kLinearRows: channels of one head where they are heads of values, else 0
  at::Tensor row_of_channel;  // kLinearRows: int64 [in], which row feeds each channel of the
                              // subset's input. Channels that share a row (GQA) must share a scale:
                              // transform::tie_channels.
};

// The linears that read the same tensor.
struct SWAGE_API Subset {
  std::string name;   // "attention.input", for logs and overrides
  std::string input;  // slot that holds the tensor they read, [tokens, in]; [rows, in] where it was
                      // put aside
  Route route;  // the tokens that reach them, where not all do; the slot holds all, or only these
                // if it was put with a route
  std::vector<Linear*> linears;  // to be compressed together
  std::vector<Linear*>
      readers;  // others that read it and only follow a fold (routers, kept linears)
  FoldTarget fold;
  // The same linears by the tokens that reach them: experts on one input. A step that folds sees
  // the whole subset (Needs:: whole_inputs), every other one the parts, each with its own
  // statistics.
  std::vector<Subset> parts;
  bool inspect_module =
      false;  // false: a search compares the linears' own outputs; true: Block::inspect()
};

// Rows that make queries and keys: a scale of the keys' channels goes into both and leaves every
// score as it is.
struct SWAGE_API KeySites {
  std::string why_none;  // not empty: no scale keeps the function, and why
  Linear* query = nullptr;
  Linear* key = nullptr;  // may be the same linear
  at::Tensor query_rows;  // int64 [heads, head_dim]
  at::Tensor key_rows;    // int64 [key heads, head_dim]
  int64_t rotary_dim =
      0;  // channels j and j + rotary_dim / 2 of a head turn together: they share a scale
};

// Where a block reads and writes the residual stream: what a change of its basis touches.
struct SWAGE_API ResidualSites {
  std::string why_none;          // not empty: no change of basis keeps the function, and why
  std::vector<size_t> readers;   // subsets behind a norm of the stream
  std::vector<Linear*> writers;  // linears whose outputs are added to it
};

struct SWAGE_API BlockId {
  std::string tower;  // "language", "vision", "projector"
  int64_t index = 0;
  friend bool operator==(const BlockId& a, const BlockId& b) {
    return a.tower == b.tower && a.index == b.index;
  }
};

// A block is an ordered list of stages. Stage i ends with the input of subset i in its slot; one
// more stage ends with the block's output in kHidden. Walking them once, in order, gives every
// subset its input with every earlier subset in its final form. A stage may drop slots that no
// later stage reads. Stages keep no state between micro-batches and treat sequences independently,
// so results do not depend on how tokens are cut into micro-batches.
class SWAGE_API Block {
 public:
  explicit Block(BlockId id) : id_(std::move(id)) {}
  virtual ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  const BlockId& id() const { return id_; }
  std::vector<Subset>& subsets() { return subsets_; }
  std::deque<Linear>& linears() { return linears_; }
  std::deque<Parameter>& parameters() { return parameters_; }
  int64_t stage_count() const { return static_cast<int64_t>(subsets_.size()) + 1; }

  virtual void run_stage(int64_t stage, Slots& slots) = 0;
  // Output [tokens, …] of the sub-module that a search compares for this subset, from its input
  // slot (and what else the stage after it reads); the slots are left as they were.
  virtual at::Tensor inspect(int64_t subset, const Slots& slots) = 0;

  // Default: none, since the block does not say.
  virtual ResidualSites residual_sites();
  virtual KeySites key_sites();

  // All stages in order: kHidden in, kHidden out. Differentiable.
  void forward(Slots& slots);
  void set_view(View view);

 protected:
  std::vector<Subset> subsets_;
  std::deque<Linear> linears_;  // deques: addresses stay valid while adapters add to them
  std::deque<Parameter> parameters_;

 private:
  BlockId id_;
};

}  // namespace swage
