// The manual page, made of what the command line declares.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/exit_codes.h"
#include "core/cli/command_line.h"
#include "core/cli/description.h"
#include "core/cli/verbs.h"

namespace swage {
namespace {

// Text as roff takes it: no escape, no request at the start of a line, characters of ASCII.
std::string roff(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"\\", "\\e"}, {"-", "\\-"}, {"…", "..."}, {"\n.", "\n\\&."}, {"'", "\\(aq"}});
}

std::string usage_of(const VerbDescription& verb) {
  std::string text = absl::StrCat("\\fBswage ", verb.name, "\\fR");
  for (const OptionDescription& option : verb.options) {
    if (option.is_argument || !option.required) continue;
    absl::StrAppend(&text, " \\fB", roff(option.names.front()), "\\fR \\fI", option.value, "\\fR");
  }
  absl::StrAppend(&text, " [options]");
  for (const OptionDescription& option : verb.options) {
    if (!option.is_argument) continue;
    const char* const open = option.required ? "" : "[";
    const char* const close = option.required ? "" : "]";
    absl::StrAppend(&text, " ", open, "\\fI", option.value, "\\fR", close);
  }
  return text;
}

std::string option_text(const OptionDescription& option) {
  std::string names;
  for (const std::string& name : option.names) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", option.is_argument ? "\\fI" : "\\fB",
                    roff(name), "\\fR");
  }
  if (!option.is_argument && !option.value.empty())
    absl::StrAppend(&names, " \\fI", roff(option.value), "\\fR");
  return absl::StrCat(".TP\n", names, "\n", roff(option.help), "\n");
}

}  // namespace

std::string manual_page() {
  const std::vector<VerbDescription> command = describe_command();
  std::string text =
      absl::StrCat(".TH SWAGE 1 \"\" \"", command_version(),
                   "\" \"User Commands\"\n"
                   ".SH NAME\nswage \\- compress large language models\n.SH SYNOPSIS\n");
  for (const VerbDescription& verb : command) {
    if (!verb.name.empty()) absl::StrAppend(&text, usage_of(verb), "\n.br\n");
  }
  absl::StrAppend(
      &text, ".SH DESCRIPTION\n",
      roff("Swage reads a checkpoint, quantizes it, measures what was lost and writes "
           "checkpoints that serving engines load. One TOML file wires all of it: "
           "`swage help` shows a first one, `swage help pipeline` every key, "
           "`swage help scheme` the number formats, and `swage help NAME` explains a component."),
      "\n.SH OPTIONS OF EVERY VERB\n");
  for (const OptionDescription& option : command.front().options)
    absl::StrAppend(&text, option_text(option));
  for (const VerbDescription& verb : command) {
    if (verb.name.empty()) continue;
    absl::StrAppend(&text, ".SH \"swage ", verb.name, "\"\n", usage_of(verb), "\n.PP\n",
                    roff(verb.summary), ".\n");
    for (const OptionDescription& option : verb.options) {
      const bool everywhere = option.names.front() == "--help";
      if (!everywhere) absl::StrAppend(&text, option_text(option));
    }
  }
  absl::StrAppend(&text, ".SH EXIT STATUS\n");
  for (const ExitMeaning& meaning : exit_meanings()) {
    absl::StrAppend(&text, ".TP\n\\fB", static_cast<int>(meaning.code), "\\fR\n",
                    roff(meaning.text), "\n");
  }
  return absl::StrCat(
      text, ".SH ENVIRONMENT\n.TP\n\\fBSWAGE_PLUGIN_PATH\\fR\n",
      roff(
          "Folders with plugins, separated by colons; they come behind --plugin-path and [plugins] "
          "path."),
      "\n.TP\n\\fBNO_COLOR\\fR, \\fBTERM=dumb\\fR\n",
      roff("Plain lines in place of a progress bar, as where output goes to a file."), "\n");
}

absl::Status man(const Arguments&) {
  std::fputs(manual_page().c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace swage
