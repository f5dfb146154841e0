#pragma once
#include <functional>

#include "core/engine/opened_model.h"
#include "core/engine/token_stream.h"

namespace swage {

// Takes a stream through a whole model, tower by tower, up to behind the last block. `arrived` is
// called in front of every block with its id.
absl::Status pass_through(const OpenedModel& model, View view, TokenStream& stream,
                          const std::function<void(const BlockId&)>& arrived);

}  // namespace swage
