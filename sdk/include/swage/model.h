#pragma once
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/block.h"
#include "swage/export.h"
#include "swage/image/processor.h"
#include "swage/value.h"
#include "swage/weight_source.h"

namespace swage {

inline constexpr const char* kLanguage = "language";

// Blocks on one residual stream. A model of language has one; one that sees has "vision" and
// "projector" before it.
struct SWAGE_API Tower {
  std::string name;
  int64_t block_count = 0;
};

struct SWAGE_API ModelShape {
  std::vector<Tower> towers;  // in the order in which they run; the last one is "language"
  int64_t hidden_size = 0;
  int64_t vocab_size = 0;
  int64_t context_length = 0;    // max_position_embeddings
  bool tied_embeddings = false;  // the head's weight is the embedding's
  std::string head;              // tensor of a head that is untied: "lm_head.weight"
  std::string embedding;         // tensor of its table: "model.embed_tokens.weight"; "": not told
  int64_t image_token =
      -1;  // in a sequence's ids, where a feature of an image stands, or a whole image where
           // features lie beside the text; may lie behind the vocabulary; -1: no images
};

// Where embedding and head meet the residual stream; see ResidualSites.
struct SWAGE_API EmbeddingSites {
  std::string why_none;
  std::vector<Parameter*> tables;  // [n, hidden]: their rows are added up to the stream
  at::ScalarType compute = at::kFloat;
};
struct SWAGE_API HeadSites {
  std::string why_none;
  Parameter* norm_weight = nullptr;
  Parameter* norm_bias = nullptr;  // may be null
  bool norm_offset = false;
  Parameter* matrix = nullptr;  // [vocab, hidden]; null while it is the embedding's
  bool norm_subtracts_mean = false;
};

struct SWAGE_API LoadOptions {
  at::ScalarType compute = at::kFloat;
  at::Device device = at::kCPU;
};

// The entrance of a tower: puts kHidden of its block 0 (any scaling or position embedding
// included), and what else its blocks share (kTowerSlot). It finds
//   in the language tower  kIds, lengths and positions; put aside: what the sequence's images hold
//   (TokenSet::inputs),
//                          kFeatures and the slots of the tower before it, where there are any
//   in the first tower     put aside: what the images hold; it sets lengths and positions
//   in any other           what the tower before it left, lengths and positions included; it may
//   change all
class SWAGE_API Embedding {
 public:
  virtual ~Embedding();
  // InvalidArgument: ids outside of the vocabulary, inputs of another shape, features that fit no
  // place.
  virtual absl::Status embed(Slots& slots) = 0;
  virtual EmbeddingSites residual_sites();  // default: none, since the embedding does not say
  // The table [vocab, width] as a linear, whose weight of the view at hand embed() takes rows of.
  // From the first call on it is no longer among parameters(). Null: it cannot be compressed.
  virtual Linear* linear() { return nullptr; }
  // Tensors that exporters write. Values may be in storage dtype (an embedding is large); a step
  // that changes one upcasts it first.
  std::deque<Parameter>& parameters() { return parameters_; }

 protected:
  std::deque<Parameter> parameters_;
};

// Final norm and output projection.
class SWAGE_API Head {
 public:
  virtual ~Head();
  virtual at::Tensor normalize(
      const at::Tensor&
          hidden) = 0;  // [tokens, hidden] -> after the final norm: what the output matrix reads
  virtual at::Tensor logits(const at::Tensor& normalized) = 0;  // -> [tokens, vocab]
  virtual HeadSites residual_sites();  // default: none, since the head does not say
  // Gives the head a matrix of its own where it is the embedding's; parameters() has it from then
  // on, as `matrix_name`.
  virtual void untie() {}
  // The output matrix as a linear, which reads what normalize() gives: logits() calls apply(). From
  // the first call on it is the head's own (untie) and no longer among parameters(). Null: it
  // cannot be compressed.
  virtual Linear* linear() { return nullptr; }
  std::string matrix_name;  // "lm_head.weight"
  std::deque<Parameter>& parameters() {
    return parameters_;
  }  // without what is tied to the embedding

 protected:
  std::deque<Parameter> parameters_;
};

// A model family. Created without parameters; open() gets config.json.
class SWAGE_API ModelAdapter {
 public:
  virtual ~ModelAdapter();
  // InvalidArgument names the key of config.json that is wrong or not supported.
  virtual absl::Status open(const Value& config) = 0;
  virtual const ModelShape& shape() const = 0;
  virtual absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const std::string& tower,
                                                                    const WeightSource& source,
                                                                    const LoadOptions& options) = 0;
  virtual absl::StatusOr<std::unique_ptr<Block>> load_block(const BlockId& id,
                                                            const WeightSource& source,
                                                            const LoadOptions& options) = 0;
  virtual absl::StatusOr<std::unique_ptr<Head>> load_head(const WeightSource& source,
                                                          const LoadOptions& options) = 0;

  // What prepares pictures as preprocessor_config.json says. FailedPrecondition: the model reads
  // none.
  virtual absl::StatusOr<std::unique_ptr<image::Processor>> load_processor(
      const Value& preprocessor_config) const;
  // The text that takes the place of a prompt's `token` (that of shape().image_token) for one
  // prepared picture. Default: the token itself.
  virtual std::string picture_text(const image::Inputs& picture, const std::string& token) const;

  // An ability that a later version of the host may ask for; null: it has none of this name.
  const void* query(std::string_view ability) const;

 protected:
  virtual const void* do_query(std::string_view ability) const;
};

}  // namespace swage
