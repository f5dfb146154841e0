#pragma once
#include <memory>

#include "swage/io/fp8.h"
#include "swage/weight_source.h"

namespace swage::io {

// The tensors of an fp8 checkpoint in floats; each weight is dequantized when it is read, in fp32,
// and rounded once. `header` is that of all files. InvalidArgument: a weight without a scale, a
// scale whose shape fits no rule.
absl::StatusOr<std::unique_ptr<WeightSource>> dequantized_source(
    std::unique_ptr<WeightSource> stored, std::shared_ptr<const Header> header,
    const Value& config);

}  // namespace swage::io
