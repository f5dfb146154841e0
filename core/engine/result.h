#pragma once
#include <string>

#include "absl/status/statusor.h"
#include "core/config/pipeline.h"
#include "core/engine/journal.h"

namespace swage {

// What a run leaves for programs: WORK/result.json (docs/result.md names every key). Made of the
// journal alone, so a resumed run gives the same.
absl::StatusOr<Value> make_result(const Journal& journal, const Pipeline& pipeline);
absl::Status write_result(const std::string& work, const Value& result);
// The same for people: a table of metrics, size, time and where things lie.
std::string result_table(const Value& result, const std::string& work);

}  // namespace swage
