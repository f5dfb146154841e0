#pragma once
#include <memory>

#include "swage/export.h"
#include "swage/model.h"

namespace swage::nn {

// int64 [features], put aside beside kFeatures: the tokens whose places they take. An embedding
// that does more than look rows up takes both and puts the features in between; else they take
// their places in what it gives.
inline constexpr std::string_view kFeatureRows = "tower.feature_rows";

// The embedding of a language tower that reads images: rows of kFeatures take, in order, the places
// where kIds is `image_token`; slots that the tower before has left, a row for each feature, are
// laid out along the tokens for `embedding`, with -1 where there is text. InvalidArgument: as many
// features as places are expected. Without features it is `embedding`.
SWAGE_API std::unique_ptr<Embedding> with_features(std::unique_ptr<Embedding> embedding,
                                                   int64_t image_token);

}  // namespace swage::nn
