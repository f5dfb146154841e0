// Scripts that complete the command in a shell, made of what the command line declares.
#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "core/cli/description.h"
#include "core/cli/verbs.h"
#include "core/config/formats.h"
#include "core/config/keys.h"

namespace swage {
namespace {

// What may stand for a value: a shell function of the script, "" where nothing is offered.
enum class Kind { kNothing, kFile, kFolder, kPath, kKey, kTopic, kAdapter, kShell };

Kind kind_of(const OptionDescription& option) {
  const std::pair<const char*, Kind> kinds[] = {
      {"FILE", Kind::kFile},   {"DIR", Kind::kFolder},      {"WORKDIR", Kind::kFolder},
      {"MODEL", Kind::kPath},  {"CHECKPOINT", Kind::kPath}, {"KEY=VALUE", Kind::kKey},
      {"TOPIC", Kind::kTopic}, {"NAME", Kind::kAdapter},    {"SHELL", Kind::kShell}};
  for (const auto& [value, kind] : kinds) {
    if (option.value == value) return kind;
  }
  return Kind::kNothing;
}

std::vector<std::string> verb_names(const std::vector<VerbDescription>& command) {
  std::vector<std::string> names;
  for (const VerbDescription& verb : command) {
    if (!verb.name.empty()) names.push_back(verb.name);
  }
  return names;
}

std::vector<std::string> option_names(const VerbDescription& verb) {
  std::vector<std::string> names;
  for (const OptionDescription& option : verb.options) {
    if (!option.is_argument) names.insert(names.end(), option.names.begin(), option.names.end());
  }
  return names;
}

// "run.threads=": keys of the file that have one place. Those of steps go by names.
std::vector<std::string> pipeline_keys() {
  std::vector<std::string> keys;
  for (const Section& section : sections()) {
    if (section.is_list) continue;
    for (const ParamManifest& key : section.keys)
      keys.push_back(absl::StrCat(section.name, ".", key.name, "="));
    for (const std::string& table : section.scheme_tables) {
      for (const std::string& key : known_scheme_keys(table))
        keys.push_back(absl::StrCat(section.name, ".", table, ".", key, "="));
    }
  }
  return keys;
}

// In single quotes, as all three shells take it.
std::string quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// The names of plugins' components, of one kind or all: asked for when they are wanted.
const char kNames[] =
    R"(swage plugins 2>/dev/null | awk -v kind="$1" '
    $1 ~ /^(model|algorithm|evaluator|exporter|format|engine)$/ && (kind == "" || $1 == kind) { print $2 }')";

std::string bash_words(Kind kind, const std::vector<VerbDescription>& command) {
  switch (kind) {
    case Kind::kNothing:
      return ":";
    case Kind::kFile:
    case Kind::kPath:
      return "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$word\"))";
    case Kind::kFolder:
      return "compopt -o filenames; COMPREPLY=($(compgen -d -- \"$word\"))";
    case Kind::kKey:
      return absl::StrCat("compopt -o nospace; COMPREPLY=($(compgen -W ",
                          quoted(absl::StrJoin(pipeline_keys(), " ")), " -- \"$word\"))");
    case Kind::kTopic:
      return absl::StrCat("COMPREPLY=($(compgen -W \"pipeline scheme architectures engines mixes ",
                          absl::StrJoin(verb_names(command), " "),
                          " $(_swage_names)\" -- \"$word\"))");
    case Kind::kAdapter:
      return "COMPREPLY=($(compgen -W \"$(_swage_names model)\" -- \"$word\"))";
    case Kind::kShell:
      return absl::StrCat("COMPREPLY=($(compgen -W ", quoted(absl::StrJoin(shells(), " ")),
                          " -- \"$word\"))");
  }
  return ":";
}

std::string bash_script(const std::vector<VerbDescription>& command) {
  std::string text = absl::StrCat(
      "# Completes swage in bash. Made by `swage completion bash`.\n_swage_names() {\n  ", kNames,
      "\n}\n"
      "_swage() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb= i\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
      "    case ${COMP_WORDS[i]} in\n"
      "      --plugin-path) ((++i)) ;;\n"
      "      -*) ;;\n"
      "      *) verb=${COMP_WORDS[i]}; break ;;\n"
      "    esac\n"
      "  done\n"
      "  COMPREPLY=()\n"
      "  case $verb:$before in\n");
  for (const VerbDescription& verb : command) {
    for (const OptionDescription& option : verb.options) {
      if (option.is_argument || option.value.empty()) continue;
      const std::string pattern = verb.name.empty() ? "*" : verb.name;
      for (const std::string& name : option.names)
        absl::StrAppend(&text, "    ", pattern, ":", name, ") ",
                        bash_words(kind_of(option), command), "; return ;;\n");
    }
  }
  absl::StrAppend(&text, "  esac\n  case $verb:$word in\n");
  const std::vector<std::string> common = option_names(command.front());
  for (const VerbDescription& verb : command) {
    std::vector<std::string> names = option_names(verb);
    if (!verb.name.empty()) names.insert(names.end(), common.begin(), common.end());
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    absl::StrAppend(&text, "    ", verb.name, ":-*) COMPREPLY=($(compgen -W ",
                    quoted(absl::StrJoin(names, " ")), " -- \"$word\")) ;;\n");
  }
  absl::StrAppend(&text, "    :*) COMPREPLY=($(compgen -W ",
                  quoted(absl::StrJoin(verb_names(command), " ")), " -- \"$word\")) ;;\n");
  for (const VerbDescription& verb : command) {
    const auto argument =
        std::find_if(verb.options.begin(), verb.options.end(),
                     [](const OptionDescription& option) { return option.is_argument; });
    if (argument != verb.options.end())
      absl::StrAppend(&text, "    ", verb.name, ":*) ", bash_words(kind_of(*argument), command),
                      " ;;\n");
  }
  return text + "  esac\n}\ncomplete -F _swage swage\n";
}

std::string zsh_action(Kind kind, const std::vector<VerbDescription>& command) {
  switch (kind) {
    case Kind::kNothing:
      return " ";
    case Kind::kFile:
    case Kind::kPath:
      return "_files";
    case Kind::kFolder:
      return "_files -/";
    case Kind::kKey:
      return "_swage_keys";
    case Kind::kTopic:
      return absl::StrCat("{compadd pipeline scheme architectures engines mixes ",
                          absl::StrJoin(verb_names(command), " "), " $(_swage_names)}");
    case Kind::kAdapter:
      return "{compadd $(_swage_names model)}";
    case Kind::kShell:
      return absl::StrCat("(", absl::StrJoin(shells(), " "), ")");
  }
  return " ";
}

// One word of _arguments: '--work[Work directory]:DIR:_files -/'.
std::string zsh_option(const OptionDescription& option, const std::string& name,
                       const std::vector<VerbDescription>& command) {
  const auto safe = [](const std::string& text) {
    return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {":", "\\:"}, {"[", "\\["}, {"]", "\\]"}});
  };
  const std::string value =
      option.value.empty()
          ? ""
          : absl::StrCat(":", safe(option.value), ":", zsh_action(kind_of(option), command));
  if (option.is_argument) return quoted(value.substr(0, 1) + value);
  return quoted(absl::StrCat(option.repeated ? "*" : "", name, "[", safe(option.help), "]", value));
}

std::string zsh_script(const std::vector<VerbDescription>& command) {
  std::string text = absl::StrCat(
      "#compdef swage\n# Completes swage in zsh. Made by `swage completion zsh`.\n"
      "_swage_names() {\n  ",
      kNames, "\n}\n_swage_keys() { compadd -S '' -- ", absl::StrJoin(pipeline_keys(), " "),
      " }\n_swage() {\n  local context state line verbs\n  verbs=(\n");
  const auto words = [&](const VerbDescription& verb) {
    std::string all;
    for (const OptionDescription& option : verb.options) {
      for (const std::string& name : option.names)
        absl::StrAppend(&all, " \\\n      ", zsh_option(option, name, command));
    }
    return all;
  };
  for (const VerbDescription& verb : command) {
    if (!verb.name.empty())
      absl::StrAppend(&text, "    ", quoted(absl::StrCat(verb.name, ":", verb.summary)), "\n");
  }
  absl::StrAppend(&text, "  )\n  _arguments -C", words(command.front()),
                  " \\\n      '1:verb:->verb' '*::argument:->argument'\n"
                  "  case $state in\n    verb) _describe verb verbs; return ;;\n  esac\n"
                  "  case $words[1] in\n");
  for (const VerbDescription& verb : command) {
    if (!verb.name.empty())
      absl::StrAppend(&text, "    ", verb.name, ") _arguments", words(verb), " ;;\n");
  }
  return text +
         "  esac\n}\nif [ \"$funcstack[1]\" = _swage ]; then _swage \"$@\"; "
         "else compdef _swage swage; fi\n";
}

std::string fish_action(Kind kind, const std::vector<VerbDescription>& command) {
  switch (kind) {
    case Kind::kNothing:
      return " -x";
    case Kind::kFile:
    case Kind::kPath:
      return " -r -F";
    case Kind::kFolder:
      return " -x -a '(__fish_complete_directories)'";
    case Kind::kKey:
      return absl::StrCat(" -x -a ", quoted(absl::StrJoin(pipeline_keys(), " ")));
    case Kind::kTopic:
      return absl::StrCat(" -x -a 'pipeline scheme architectures engines mixes ",
                          absl::StrJoin(verb_names(command), " "), " (_swage_names \"\")'");
    case Kind::kAdapter:
      return " -x -a '(_swage_names model)'";
    case Kind::kShell:
      return absl::StrCat(" -x -a ", quoted(absl::StrJoin(shells(), " ")));
  }
  return "";
}

std::string fish_script(const std::vector<VerbDescription>& command) {
  std::string text = absl::StrCat(
      "# Completes swage in fish. Made by `swage completion fish`.\nfunction _swage_names\n  "
      "swage plugins 2>/dev/null | awk -v kind=\"$argv[1]\" '\n    $1 ~ "
      "/^(model|algorithm|evaluator|exporter|format|engine)$/ && (kind == \"\" || $1 == kind) { "
      "print $2 "
      "}'\nend\n"
      "complete -c swage -f\n");
  for (const VerbDescription& verb : command) {
    const std::string condition =
        verb.name.empty() ? "" : absl::StrCat(" -n '__fish_seen_subcommand_from ", verb.name, "'");
    if (!verb.name.empty())
      absl::StrAppend(&text, "complete -c swage -n __fish_use_subcommand -a ", verb.name, " -d ",
                      quoted(verb.summary), "\n");
    for (const OptionDescription& option : verb.options) {
      absl::StrAppend(&text, "complete -c swage", condition);
      for (const std::string& name : option.names) {
        if (option.is_argument) continue;
        const bool is_long = name.rfind("--", 0) == 0;
        absl::StrAppend(&text, is_long ? " -l " : " -s ", name.substr(is_long ? 2 : 1));
      }
      const std::string action = fish_action(kind_of(option), command);
      const bool files = option.is_argument && action == " -r -F";
      absl::StrAppend(&text,
                      option.value.empty() ? ""
                      : files              ? " -F"
                                           : action,
                      " -d ", quoted(option.help), "\n");
    }
  }
  return text;
}

}  // namespace

std::string completion_script(const std::string& shell) {
  const std::vector<VerbDescription> command = describe_command();
  if (shell == "zsh") return zsh_script(command);
  return shell == "fish" ? fish_script(command) : bash_script(command);
}

absl::Status completion(const Arguments& arguments) {
  std::fputs(completion_script(arguments.target).c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace swage
