#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/io/checkpoint.h"
#include "swage/weight_source.h"

namespace swage {

// What the exporter reads for one linear of a checkpoint, or of `tensors` in place of its own;
// nothing where it lies there in floats.
absl::StatusOr<std::optional<Result>> decode_linear(Exporter& reader, const std::string& linear,
                                                    const io::Checkpoint& checkpoint,
                                                    const WeightSource* tensors = nullptr);

// A compressed checkpoint as if it were one in floats: `X.weight` of a compressed linear is its
// decoded weight in the dtype of the scales. Only modules that fit `linears`, globs of the
// adapter's manifest, are asked for. Checkpoint and reader must outlive the source.
std::unique_ptr<WeightSource> decoded_source(const io::Checkpoint& checkpoint, Exporter& reader,
                                             std::vector<std::string> linears);

}  // namespace swage
