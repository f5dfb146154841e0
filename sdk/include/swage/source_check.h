#pragma once
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "swage/export.h"
#include "swage/value.h"

namespace swage {

// What an exporter answers query(kSourceCheck) with, where it depends on the model beside its
// linears: it knows some families only, or writes a tokenizer in a form of its own.
inline constexpr std::string_view kSourceCheck = "source-check/1";

// The model that will be exported, from headers alone.
struct ExportSource {
  Value config;  // config.json; its head may be untied later
  // Every tensor of the model and what is carried beside it; linears as their matrices.
  std::map<std::string, std::vector<int64_t>, std::less<>> shapes;
  std::vector<std::pair<std::string, std::string>> side_files;  // as ExportContext has them
};

class SWAGE_API SourceCheck {
 public:
  virtual ~SourceCheck();
  // Before any work, behind Exporter::check. InvalidArgument: what finish() would refuse.
  virtual absl::Status check_source(const ExportSource& source) const = 0;
};

}  // namespace swage
