#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/params.h"

namespace swage {

namespace text {
class Tokenizer;
}

// What a sequence holds beside its ids, under the names that transformers gives such inputs
// ("pixel_values", "image_grid_thw" …). The first dimension runs over all images of the sequence,
// in their order; there is no batch.
using SequenceInputs = std::map<std::string, at::Tensor>;

// Token sequences, laid end to end when they run.
struct SWAGE_API TokenSet {
  std::vector<std::vector<int64_t>> sequences;
  std::vector<SequenceInputs> inputs = {};  // of each sequence; empty: text alone
};

// What an evaluator may ask of the host before the sweep.
class SWAGE_API EvaluationInput {
 public:
  virtual ~EvaluationInput();
  virtual const text::Tokenizer& tokenizer()
      const = 0;  // throws std::runtime_error where the model has none
  virtual int64_t vocab_size() const = 0;
  virtual int64_t context_length() const = 0;
  // Sequences that stand in a source as they are to run: at most `count` chats and texts with
  // pictures (.jsonl), cut at `length` but never within a picture; what transformers' processor
  // gives (.safetensors), as it stands. Nothing where the source is running text or token ids,
  // which an evaluator cuts itself.
  virtual absl::StatusOr<std::optional<TokenSet>> documents(const std::string& source,
                                                            int64_t length,
                                                            int64_t count) const = 0;
};

// Logits of neighbouring tokens of one sequence. Tokens that a picture's place follows are left
// out: no model predicts those.
struct SWAGE_API LogitsView {
  int64_t sequence = 0;
  int64_t first = 0;    // position of row 0
  at::Tensor targets;   // int64 [rows]: the token that follows each; -1 at the end of the sequence
  at::Tensor original;  // fp32 [rows, vocab]
  at::Tensor compressed;  // fp32 [rows, vocab]; undefined when nothing was compressed
};

// figure name -> value, for the original and the compressed model.
struct SWAGE_API Metrics {
  std::map<std::string, double> original;
  std::map<std::string, double> compressed;
};

// Measures within the sweep: its sequences run through the original and the compressed blocks
// beside the calibration.
class SWAGE_API Evaluator {
 public:
  virtual ~Evaluator();
  // The sequences to run. Equal sets of several evaluators run once.
  virtual absl::StatusOr<TokenSet> prepare(const EvaluationInput& input) = 0;
  // False: the original logits are not needed (they then may be undefined).
  virtual bool wants_original() const { return true; }
  // Every sequence, in order, in pieces of at most some hundred rows.
  virtual absl::Status consume(const LogitsView& view) = 0;
  virtual absl::StatusOr<Metrics> report() = 0;

  // An ability that a later version of the host may ask for; null: it has none of this name.
  const void* query(std::string_view ability) const;

 protected:
  virtual const void* do_query(std::string_view ability) const;
};

}  // namespace swage
