#include "core/engine/passage.h"

#include "core/engine/block_loader.h"
#include "core/engine/process.h"
#include "swage/status.h"

namespace swage {

absl::Status pass_through(const OpenedModel& model, View view, TokenStream& stream,
                          const std::function<void(const BlockId&)>& arrived) {
  const std::string& adapter = model.adapter_name();
  const std::vector<BlockId> blocks = model.blocks();
  BlockLoader loader(model, blocks, 0);
  for (const BlockId& id : blocks) {
    if (id.index == 0) {
      SWAGE_ASSIGN_OR_RETURN(const auto embedding, model.load_embedding(id.tower));
      SWAGE_RETURN_IF_ERROR(enter(*embedding, id.tower, model, stream));
    }
    SWAGE_RETURN_IF_ERROR(interrupted());
    arrived(id);
    SWAGE_ASSIGN_OR_RETURN(const auto block, loader.next());
    SWAGE_RETURN_IF_ERROR(run_pass(*block, view, adapter, stream));
  }
  return absl::OkStatus();
}

}  // namespace swage
