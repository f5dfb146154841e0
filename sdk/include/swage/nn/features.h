#pragma once
#include <memory>

#include "swage/export.h"
#include "swage/model.h"

namespace swage::nn {

// The embedding of a language tower that reads images: rows of kFeatures take, in order, the places
// where kIds is `image_token`. InvalidArgument: as many features as places are expected. Without
// features it is `embedding`.
SWAGE_API std::unique_ptr<Embedding> with_features(std::unique_ptr<Embedding> embedding,
                                                   int64_t image_token);

}  // namespace swage::nn
