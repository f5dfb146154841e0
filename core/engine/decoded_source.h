#pragma once
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/io/checkpoint.h"
#include "swage/weight_source.h"

namespace swage {

// What the exporter reads for one linear of a checkpoint; nothing where it lies there in floats.
absl::StatusOr<std::optional<CompressedLinear>> decode_linear(Exporter& reader,
                                                              const std::string& linear,
                                                              const io::Checkpoint& checkpoint);

// A compressed checkpoint as if it were one in floats: `X.weight` of a compressed linear is its
// decoded weight in the dtype of the scales. Both must outlive the source.
std::unique_ptr<WeightSource> decoded_source(const io::Checkpoint& checkpoint, Exporter& reader);

}  // namespace swage
