#include "core/cli/description.h"

#include "core/cli/command_line.h"

namespace swage {
namespace {

OptionDescription describe(const CLI::Option& option) {
  OptionDescription result;
  result.is_argument = option.get_positional();
  if (result.is_argument) {
    result.names = {option.get_name()};
    result.value = option.get_name();
  } else {
    for (const std::string& name : option.get_lnames()) result.names.push_back("--" + name);
    for (const std::string& name : option.get_snames()) result.names.push_back("-" + name);
    if (option.get_items_expected_max() > 0) result.value = option.get_type_name();
  }
  result.help = option.get_description();
  result.required = option.get_required();
  result.repeated = option.get_items_expected_max() > 1;
  return result;
}

VerbDescription describe(const CLI::App& app, const std::string& name) {
  VerbDescription result;
  result.name = name;
  result.summary = app.get_description();
  for (const CLI::Option* option : app.get_options()) result.options.push_back(describe(*option));
  return result;
}

}  // namespace

std::vector<VerbDescription> describe_command() {
  Arguments arguments;
  CommandLine line(&arguments);
  const CLI::App& app = line.app();
  std::vector<VerbDescription> all = {describe(app, "")};
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    all.push_back(describe(*verb, verb->get_name()));
  return all;
}

}  // namespace swage
