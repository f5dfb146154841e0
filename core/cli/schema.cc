#include "core/config/schema.h"

#include "core/base/plain_output.h"
#include "core/catalog/catalog.h"
#include "core/cli/verbs.h"

namespace swage {

absl::Status schema(const Arguments& arguments) {
  const Catalog catalog = Catalog::scan(plugin_search_path(arguments.plugin_path, {}));
  print_json(to_json(pipeline_schema(catalog)));
  return absl::OkStatus();
}

}  // namespace swage
