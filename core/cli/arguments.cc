#include "core/cli/arguments.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/exit_codes.h"
#include "core/base/suggest.h"
#include "core/cli/command_line.h"
#include "core/config/convert_recipe.h"
#include "swage/status.h"

namespace swage {
namespace {

absl::Status usage(const std::string& text) {
  return with_exit_code(absl::InvalidArgumentError(text), ExitCode::kUsage);
}

std::string toml_string(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

// A key without a section is one of the exporter's.
void take_conversion(const std::string& work, Arguments* arguments) {
  ConvertRequest request = {arguments->target,  arguments->to,         arguments->out,   work,
                            arguments->adapter, arguments->requantize, arguments->sample};
  const std::string name = name_of_checkpoint(arguments->target);
  if (request.out.empty()) request.out = absl::StrCat(name, "-", arguments->to);
  if (work.empty()) request.work = absl::StrCat("runs/convert-", name_of_checkpoint(request.out));
  arguments->pipeline = "swage convert";
  arguments->recipe = convert_recipe(request);
  for (std::string& set : arguments->sets) {
    if (set.find('.') > set.find('=')) set = absl::StrCat("export.", arguments->to, ".", set);
  }
}

void add_option_sets(const std::string& work, Arguments* arguments) {
  const auto add = [&](const char* key, const std::string& value) {
    arguments->sets.push_back(absl::StrCat(key, "=", value));
  };
  if (arguments->verb == "convert") take_conversion(work, arguments);
  if (arguments->verb == "run" || arguments->verb == "check")
    arguments->pipeline = arguments->target;
  if (arguments->pipeline.empty()) return;
  if (arguments->verb == "eval") add("model.path", toml_string(arguments->target));
  if (!work.empty() && arguments->verb != "convert") add("run.work", toml_string(work));
  if (arguments->threads) add("run.threads", absl::StrCat(*arguments->threads));
  if (arguments->micro_batch) add("run.micro_batch", absl::StrCat(*arguments->micro_batch));
}

// CLI11 takes an unknown verb for a stray argument; the first word that is no option is looked at
// before.
absl::Status check_verb(int argc, const char* const* argv) {
  std::vector<std::string> known;
  for (const Verb& verb : verbs()) known.push_back(verb.name);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--plugin-path") ++i;
    if (word.empty() || word[0] == '-') continue;
    if (std::find(known.begin(), known.end(), word) != known.end()) return absl::OkStatus();
    return usage(absl::StrCat("\"", word, "\" is no verb of swage", suggestion(word, known)));
  }
  return absl::OkStatus();
}

// The option that a text of CLI11 begins with; null: none.
const CLI::Option* option_of(const CLI::App& verb, const std::string& text) {
  for (const CLI::Option* option : verb.get_options()) {
    const std::string& name = option->get_name();
    if (absl::StartsWith(text, name) && text.find_first_of(": ", name.size()) == name.size())
      return option;
  }
  return nullptr;
}

// What CLI11 found, in our words: its own name counts and types of C++.
absl::Status not_understood(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  const CLI::App& verb = chosen.empty() ? app : *chosen.front();
  std::string text = error.what();
  if (absl::StrContains(text, "flag override")) text = "--" + text;  // it leaves the dashes out
  const std::string help = chosen.empty()
                               ? "; `swage help` shows what there is"
                               : absl::StrCat("; see `swage ", verb.get_name(), " --help`");
  const CLI::Option* const option =
      option_of(verb, text) != nullptr ? option_of(verb, text) : option_of(app, text);
  if (option == nullptr) return usage(absl::StrCat(text, help));
  const std::string name = option->get_name();
  if (dynamic_cast<const CLI::ValidationError*>(&error) != nullptr) return usage(text + help);
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr)
    return usage(absl::StrCat(name, " is missing: ", option->get_description(), help));
  if (option->get_items_expected_max() == 0)
    return usage(absl::StrCat(name, " takes no value", help));
  const bool twice = absl::StrContains(text, "At Most");
  return usage(absl::StrCat(name, twice ? " is given twice" : " needs a value", help));
}

// One option without another that it belongs to.
absl::Status check_together(const Arguments& arguments) {
  if (arguments.tolerance && arguments.compare.empty())
    return usage("--tolerance judges what --compare FILE finds; give both");
  return absl::OkStatus();
}

// CLI11 lists stray arguments in no order a user would recognise; one with its nearest option says
// more.
absl::Status stray_argument(const CLI::App& app) {
  const std::vector<std::string> stray = app.remaining(true);
  std::string word;
  for (const std::string& candidate : stray) {
    if (word.empty() || candidate[0] == '-') word = candidate.substr(0, candidate.find('='));
  }
  std::vector<std::string> known = {"--plugin-path"};
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  const CLI::App& verb = chosen.empty() ? app : *chosen.front();
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::string near = word[0] == '-' ? nearest(word, known) : "";
  return usage(absl::StrCat("\"", word, "\" is not expected here",
                            near.empty() ? "" : absl::StrCat("; did you mean \"", near, "\"?")));
}

}  // namespace

std::string verb_help(const std::string& verb) {
  Arguments arguments;
  CommandLine line(&arguments);
  for (const CLI::App* app :
       line.app().get_subcommands([&](const CLI::App* app) { return app->get_name() == verb; })) {
    return app->help("swage");
  }
  return "";
}

absl::StatusOr<Arguments> parse_arguments(int argc, const char* const* argv) {
  SWAGE_RETURN_IF_ERROR(check_verb(argc, argv));
  Arguments arguments;
  CommandLine line(&arguments);
  CLI::App& app = line.app();
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion&) {
    arguments.text = absl::StrCat(command_version(), "\n");
    return arguments;
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    if (chosen.empty())
      arguments.verb = "help";
    else
      arguments.text = verb_help(chosen.front()->get_name());
    return arguments;
  } catch (const CLI::ExtrasError&) {
    return stray_argument(app);
  } catch (const CLI::ParseError& error) {
    return not_understood(app, error);
  }
  const auto chosen = app.get_subcommands();
  arguments.verb = chosen.empty() ? "help" : chosen.front()->get_name();
  SWAGE_RETURN_IF_ERROR(check_together(arguments));
  add_option_sets(line.work(), &arguments);
  return arguments;
}

}  // namespace swage
