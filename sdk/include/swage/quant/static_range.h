#pragma once
#include <ATen/core/Tensor.h>

#include "swage/codec.h"
#include "swage/export.h"

namespace swage::quant {

struct SWAGE_API Ends {
  float low = 0, high = 0;
};

// The range of a static activation scheme, by its keys, for inputs in [minimum, maximum] with these
// counts (SubsetStats::histogram; undefined where `static_range` is "minmax"):
//   minmax      all values
//   percentile  `percentile` of them: of the magnitudes of a symmetric scheme, else of both tails
//   mse         the range of least squared error, both ends shrunk by 1.00, 0.99 ... 0.21
//   histogram   the range that keeps most of the distribution: least Kullback-Leibler divergence of
//               2048 bins of the magnitudes from what the codes tell apart (Migacz 2017)
// times `headroom`.
SWAGE_API Ends static_range(const Codec& codec, float minimum, float maximum,
                            const at::Tensor& histogram);

}  // namespace swage::quant
