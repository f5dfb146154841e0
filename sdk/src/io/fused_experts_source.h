#pragma once
#include <memory>

#include "swage/io/fused_experts.h"
#include "swage/weight_source.h"

namespace swage::io {

// The tensors of a checkpoint with fused experts, expert by expert; a slice is read when it is
// asked for. `header` is that of all files.
std::unique_ptr<WeightSource> by_expert(std::unique_ptr<WeightSource> stored, const Header& header,
                                        const ExpertNames& names);

}  // namespace swage::io
