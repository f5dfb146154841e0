#pragma once
#include <string>
#include <vector>

// Names that hold wherever a reader hangs the parts of a model: a checkpoint says
// "language_model.model.layers.0.mlp.up_proj", transformers 5 "model.language_model.layers.0 …".
namespace swage::compressed_tensors {

// Do the linears lie in several stacks of blocks, as those of models that read images do? Readers
// agree on the names of all others.
bool has_several_stacks(const std::vector<std::vector<std::string>>& sets);

// For each set of names expressions that match all of its names and none of another set. They begin
// at the stack of blocks ("layers.3.mlp.up_proj"), with a module above it where that tells sets
// apart, and stand for all blocks where no other set holds some of them.
std::vector<std::vector<std::string>> hanging_targets(
    const std::vector<std::vector<std::string>>& sets);

}  // namespace swage::compressed_tensors
