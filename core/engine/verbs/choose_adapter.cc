#include "core/base/exit_codes.h"
#include "core/engine/verbs/verbs.h"

namespace swage {

absl::Status choose_adapter(const Arguments& arguments, Catalog* catalog) {
  if (arguments.adapter.empty()) return absl::OkStatus();
  catalog->choose_adapter(arguments.adapter);
  return with_exit_code(catalog->find("model", arguments.adapter).status(), ExitCode::kUsage);
}

}  // namespace swage
