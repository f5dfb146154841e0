#pragma once
#include <string>
#include <vector>

namespace swage {

// What the command line takes, as CommandLine declares it: completion and the manual are made of
// this, so there is no second list of options.
struct OptionDescription {
  std::vector<std::string> names;  // "--help", "-h"; of an argument "FILE"
  std::string value;               // "DIR": what kind of value it takes; "": a flag
  std::string help;
  bool is_argument = false, required = false, repeated = false;
};
struct VerbDescription {
  std::string name, summary;  // name "": options that stand before any verb
  std::vector<OptionDescription> options;
};
std::vector<VerbDescription> describe_command();

const std::vector<std::string>& shells();  // that completion_script() knows
// What a shell has to read to complete the command.
std::string completion_script(const std::string& shell);
// The manual page, for man(1).
std::string manual_page();

}  // namespace swage
