#pragma once
#include "core/catalog/catalog.h"
#include "swage/value.h"

namespace swage {

// JSON Schema (draft 2020-12) of a pipeline file with every component of the catalog: what editors
// complete and check with. An entry of a list is chosen by `use` (if and then), so a mistake in it
// is reported at its key; a file that includes others may lack what they hold. It says what
// check_pipeline() says, except for files that must exist and rules between keys.
Value pipeline_schema(const Catalog& catalog);

}  // namespace swage
