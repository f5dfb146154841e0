#pragma once
#include "absl/status/status.h"
#include "core/catalog/catalog.h"
#include "core/cli/arguments.h"

namespace swage {

// The verbs of `swage-engine`, one file each. They print results to stdout; an error is printed by
// main.
absl::Status run(const Arguments& arguments);
absl::Status check(const Arguments& arguments);
absl::Status resume(const Arguments& arguments);
absl::Status eval(const Arguments& arguments);
absl::Status verify(const Arguments& arguments);
absl::Status convert(const Arguments& arguments);
absl::Status forward(const Arguments& arguments);
absl::Status inspect(const Arguments& arguments);

// verify, where its target is no work folder.
absl::Status verify_checkpoint(const Arguments& arguments);

// --adapter, of verbs that read no pipeline file. An error where there is none of that name.
absl::Status choose_adapter(const Arguments& arguments, Catalog* catalog);

}  // namespace swage
