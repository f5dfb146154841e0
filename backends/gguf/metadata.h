#pragma once
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/io/gguf.h"

// Keys of the file itself, and what Swage notes of its results for reading them back.
namespace swage::gguf {

// general.type, name, file_type and quantization_version.
std::vector<io::GgufKey> general_keys(const std::string& name,
                                      const std::vector<io::GgufEntry>& entries);

// What blocks do not say of a result. As JSON the key "swage.results": the dtypes that integers'
// values are rounded to, dtypes and divisors of NVFP4 matrices.
struct Note {
  std::string dtype;
  double divisor = 0;
};
absl::StatusOr<std::vector<io::GgufKey>> result_keys(const ExportContext& context);
// Of one linear; none where the file says nothing. InvalidArgument: a note that is none.
absl::StatusOr<std::optional<Note>> note_of(const Value& results, const std::string& linear);

}  // namespace swage::gguf
