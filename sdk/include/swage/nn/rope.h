#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/value.h"

namespace swage::nn {

// Rotary position embedding (Su et al. 2021) and its context extensions.
//   kDefault   theta^(-2j/dim)
//   kLinear    positions divided by `factor`
//   kDynamic   theta grows with a sequence longer than max_position (NTK-aware)
//   kLlama3    low frequencies divided by `factor`, high ones kept, a ramp between (Llama 3.1)
//   kYarn      the ramp between beta_fast and beta_slow rotations, scaled attention (Peng et al.
//   2023) kLongRope  one divisor per frequency, another set beyond the original context (Ding et
//   al. 2024)
enum class RopeKind { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongRope };

struct SWAGE_API RopeDescription {
  RopeKind kind = RopeKind::kDefault;
  int64_t dim = 0;  // channels that rotate, the first of each head; even
  double theta = 10000.0;
  double factor = 1.0;
  int64_t max_position = 0;                              // max_position_embeddings
  int64_t original_position = 0;                         // context of the pretraining
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // kLlama3
  double beta_fast = 32.0, beta_slow = 1.0;              // kYarn
  bool truncate = true;                                  // kYarn
  std::optional<double> attention_factor;                // kYarn, kLongRope; else derived
  double mscale = 0.0, mscale_all_dim = 0.0;             // kYarn
  std::vector<double> short_factor, long_factor;         // kLongRope, [dim / 2]
  // How many of the dim / 2 frequencies follow each axis of the positions (Qwen2-VL's
  // mrope_section); empty: there is one axis.
  std::vector<int64_t> sections;
  bool sections_restart = false;  // every section has frequencies of its own, theta^(-j / its size)
};

// Reads rope_parameters (transformers 5) or rope_scaling, rope_theta and partial_rotary_factor (4)
// of config.json. `max_position` is max_position_embeddings, the family's default included, and
// `default_share` that of partial_rotary_factor; 0: the family knows no such key, which then counts
// for nothing, or is refused where a scaling would obey it all the same.
// InvalidArgument names the key that is missing, wrong or of an unknown type.
SWAGE_API absl::StatusOr<RopeDescription> read_rope(const Value& config, int64_t head_dim,
                                                    int64_t max_position,
                                                    double default_theta = 10000.0,
                                                    double default_share = 0.0);

// config.json with the rotation of one kind of block ("full_attention", "sliding_attention") where
// read_rope looks for it, in families whose rope_parameters hold a table for each kind: what lies
// beside these tables counts for nothing. rope_scaling is that of "full_attention"; `theta_key`
// says which key outside holds the kind's rope_theta ("": none).
SWAGE_API Value rope_config(const Value& config, const std::string& kind,
                            const std::string& theta_key);

// Cosines and sines of one micro-batch, [tokens, dim / 2], multiplied by the attention factor.
struct SWAGE_API RopeTable {
  at::Tensor cos, sin;
};

class SWAGE_API Rope {
 public:
  explicit Rope(RopeDescription description) : description_(std::move(description)) {}

  int64_t dim() const { return description_.dim; }  // channels of a head that turn

  // Positions are [tokens], or [tokens, axes] where there are sections. Angles are fp32, as in the
  // published models; the table has the dtype and device of `like`.
  // Where frequencies depend on the length (kDynamic, kLongRope) each sequence has its own, so a
  // micro-batch does not change them.
  RopeTable table(const at::Tensor& positions, const std::vector<int64_t>& lengths,
                  const at::Tensor& like) const;

 private:
  at::Tensor angles(const at::Tensor& positions, int64_t length) const;
  at::Tensor frequencies(
      int64_t length) const;  // fp32 [dim / 2] for a sequence whose last position is length - 1
  double attention_factor() const;
  RopeDescription description_;
};

// Channels (0, 1, 2, 3 …) of the first `dim` of the last dimension as (0, 2, 4 …, 1, 3 …): of two
// heads that are multiplied, both may stand so.
SWAGE_API at::Tensor in_halves(const at::Tensor& x, int64_t dim);

// Rotates pairs (j, j + dim/2) of the first `dim` channels. x [tokens, heads, head_dim] is taken
// over: it is changed in place where no gradient is needed.
SWAGE_API at::Tensor rotate(at::Tensor x, const RopeTable& table);

}  // namespace swage::nn
