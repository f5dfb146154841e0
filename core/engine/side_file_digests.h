#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/io/checkpoint.h"
#include "swage/value.h"

namespace swage {

// Digests of the files beside a model's weights (tokenizer, templates, licence …), by name: text is
// read with them, and exports get them as they are.
absl::StatusOr<Value> side_file_digests(const io::Checkpoint& checkpoint);

// InvalidArgument names the files that differ from those of `before`.
absl::Status check_side_files(const io::Checkpoint& checkpoint, const Value& before);

// What differs between two tables of digests: "tokenizer.json is missing", "… holds other bytes",
// "… is there".
std::vector<std::string> file_differences(const Value& before, const Value& now);

}  // namespace swage
