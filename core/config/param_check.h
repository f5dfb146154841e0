#pragma once
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/exit_codes.h"
#include "core/catalog/manifest.h"
#include "core/config/toml_reader.h"

namespace swage {

// Everything that is wrong with a file, so that one look at the output is enough to mend all of it.
class Problems {
 public:
  void add(const SourceLocation& where, const std::string& text);
  // Something that the file names is at fault: another class of error than kPipeline.
  void add(const SourceLocation& where, const std::string& text, ExitCode code);
  // "file:line:column: text", one a line, in the order found; InvalidArgument of the class that all
  // problems have, else of class kPipeline.
  absl::Status status() const;

 private:
  std::vector<std::string> lines_;
  ExitCode code_ = ExitCode::kPipeline;
};

// Checks `table`, which stands at `path` of the document, against declared parameters and returns
// every one of them: as given, else its default, else (optional or missing) null. Integers given
// for floats become floats; paths become absolute, relative to the folder of the file that names
// them, and must exist. `owner` stands in messages (`step "gptq"`); `others` are keys that the
// caller reads itself.
Value::Table check_params(const std::vector<ParamManifest>& params, const Value& table,
                          const std::string& path, const Document& document,
                          const std::string& owner, const std::vector<std::string>& others,
                          Problems* problems);

// One value as its parameter wants it (an integer given for a float becomes a float, a text or
// number given for a list a list of one); null, and `wrong` what a message says of the value found,
// where it does not fit.
Value checked_value(const ParamManifest& param, const Value& value, std::string* wrong);

// Absolute path of a file named at `where`: relative to that file's folder, or to the current one
// for --set.
std::string resolve_path(const std::string& path, const SourceLocation& where);

// "an integer", "a table": what a message calls a value's type.
std::string type_of(const Value& value);

// "float, 0 to 1": type and bounds of a parameter as messages and help say them.
std::string describe_type(const ParamManifest& param);

}  // namespace swage
