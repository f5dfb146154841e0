#include "swage/text/chat_template.h"

#include <cstring>
#include <filesystem>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "jinja/template.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"
#include "swage/value.h"

namespace swage::text {
namespace {

namespace fs = std::filesystem;
using Parsed = absl::StatusOr<std::shared_ptr<const jinja::Template>>;

constexpr int64_t kMaxFile = int64_t{64} << 20;

// nullopt when the file does not exist.
absl::StatusOr<std::optional<std::string>> read_file(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  SWAGE_ASSIGN_OR_RETURN(std::string content, io::read_file(path.string(), kMaxFile));
  return content;
}

using Files = std::vector<std::pair<std::string, std::string>>;

const std::string* find_file(const Files& files, std::string_view name) {
  for (const auto& [found, content] : files) {
    if (found == name) return &content;
  }
  return nullptr;
}

// The object of a JSON file; null when there is no such file.
absl::StatusOr<Value> read_object(const Files& files, const fs::path& path) {
  const std::string* content = find_file(files, path.filename().string());
  if (content == nullptr) return Value();
  SWAGE_ASSIGN_OR_RETURN(Value value, parse_json(*content, path.string()));
  if (value.table() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), ": the file is a ", value.type_name(), ", expected an object"));
  }
  return value;
}

bool is_special_token(std::string_view name) {
  static constexpr std::string_view kEnd = "_token";
  if (name == "additional_special_tokens") return true;
  return name.size() > kEnd.size() && name.substr(name.size() - kEnd.size()) == kEnd;
}

// A token is its text, or an object that has the text as "content"; nullptr for anything else, such
// as the flag "add_bos_token".
const std::string* token_text(const Value& token) {
  return token.table() != nullptr ? token["content"].text() : token.text();
}

void add_tokens(const Value& file, std::map<std::string, std::string>* tokens) {
  if (file.table() == nullptr) return;
  for (const auto& [name, token] : *file.table()) {
    if (!is_special_token(name)) continue;
    if (const std::string* text = token_text(token)) {
      tokens->emplace(name, to_json(Value(*text), -1));
    } else if (token.list() != nullptr) {
      Value::List texts;
      for (const Value& item : *token.list()) {
        if (const std::string* text = token_text(item)) texts.emplace_back(*text);
      }
      tokens->emplace(name, to_json(Value(std::move(texts)), -1));
    }
  }
}

absl::StatusOr<std::string> required_json(std::string_view json, const char* name, char begin,
                                          const char* what) {
  const size_t first = json.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || json[first] != begin) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": expected ", what));
  }
  return std::string(json);
}

}  // namespace

struct ChatTemplate::Impl {
  // One that is broken matters only when it is chosen.
  std::map<std::string, Parsed> templates;
  std::map<std::string, std::string> tokens;  // as JSON

  void add(const std::string& name, std::string_view text, const std::string& origin) {
    Parsed parsed = jinja::Template::parse(text);
    if (!parsed.ok()) parsed = annotate(parsed.status(), origin);
    templates.emplace(name, std::move(parsed));
  }
  absl::Status add_member(const Value& member, const std::string& origin);
  absl::StatusOr<bool> read_templates(const Files& files, const fs::path& folder,
                                      const Value& config);
  const Parsed& choose(bool has_tools) const;
};

absl::Status ChatTemplate::Impl::add_member(const Value& member, const std::string& origin) {
  if (const std::string* text = member.text()) {
    add("default", *text, origin);
    return absl::OkStatus();
  }
  if (member.list() == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": a ", member.type_name(),
                                                   ", expected a text or a list of templates"));
  }
  for (const Value& item : *member.list()) {
    const std::string *name = item["name"].text(), *text = item["template"].text();
    if (name == nullptr || text == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(origin, R"(: expected {"name": "…", "template": "…"} in the list)"));
    }
    add(*name, *text, absl::StrCat(origin, " \"", *name, "\""));
  }
  if (templates.count("default") == 0) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": no template is named \"default\""));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ChatTemplate::Impl::read_templates(const Files& files, const fs::path& folder,
                                                        const Value& config) {
  if (const std::string* text = find_file(files, "chat_template.jinja")) {
    add("default", *text, (folder / "chat_template.jinja").string());
    return true;
  }
  const fs::path wrapped = folder / "chat_template.json";
  SWAGE_ASSIGN_OR_RETURN(const Value processor, read_object(files, wrapped));
  const fs::path origin =
      processor.has("chat_template") ? wrapped : folder / "tokenizer_config.json";
  const Value& member = (processor.has("chat_template") ? processor : config)["chat_template"];
  if (member.is_null()) return false;
  SWAGE_RETURN_IF_ERROR(add_member(member, absl::StrCat(origin.string(), ": chat_template")));
  return true;
}

const Parsed& ChatTemplate::Impl::choose(bool has_tools) const {
  const auto it = templates.find(has_tools ? "tool_use" : "default");
  return it == templates.end() ? templates.at("default") : it->second;
}

ChatTemplate::ChatTemplate(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(const ChatTemplate&) = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(const ChatTemplate&) = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<ChatTemplate> ChatTemplate::load(const std::string& folder) {
  Files files;
  for (const char* name : {"chat_template.jinja", "chat_template.json", "tokenizer_config.json",
                           "special_tokens_map.json"}) {
    SWAGE_ASSIGN_OR_RETURN(std::optional<std::string> content, read_file(fs::path(folder) / name));
    if (content) files.emplace_back(name, *std::move(content));
  }
  return from_files(files, folder);
}

absl::StatusOr<ChatTemplate> ChatTemplate::from_files(const Files& files,
                                                      const std::string& origin) {
  const fs::path root(origin);
  auto impl = std::make_shared<Impl>();
  SWAGE_ASSIGN_OR_RETURN(const Value config, read_object(files, root / "tokenizer_config.json"));
  SWAGE_ASSIGN_OR_RETURN(const bool found, impl->read_templates(files, root, config));
  if (!found) {
    return absl::NotFoundError(absl::StrCat(
        origin,
        ": no chat template, neither chat_template.jinja nor \"chat_template\" in "
        "chat_template.json or "
        "tokenizer_config.json; base models have none: put the one of the chat model there as "
        "chat_template.jinja"));
  }
  SWAGE_RETURN_IF_ERROR(impl->templates.at("default").status());
  SWAGE_ASSIGN_OR_RETURN(const Value map, read_object(files, root / "special_tokens_map.json"));
  add_tokens(config, &impl->tokens);
  add_tokens(map, &impl->tokens);
  return ChatTemplate(std::move(impl));
}

absl::StatusOr<ChatTemplate> ChatTemplate::parse(
    std::string_view text, const std::map<std::string, std::string>& special_tokens) {
  auto impl = std::make_shared<Impl>();
  SWAGE_ASSIGN_OR_RETURN(auto parsed, jinja::Template::parse(text));
  impl->templates.emplace("default", std::move(parsed));
  for (const auto& [name, token] : special_tokens) impl->tokens[name] = to_json(Value(token), -1);
  return ChatTemplate(std::move(impl));
}

absl::StatusOr<std::string> ChatTemplate::render(std::string_view messages,
                                                 const ChatOptions& options) const {
  jinja::Variables variables;
  for (const auto& [name, token] : impl_->tokens) variables.json[name] = token;
  SWAGE_ASSIGN_OR_RETURN(variables.json["messages"],
                         required_json(messages, "messages", '[', "a JSON list of messages"));
  variables.json["add_generation_prompt"] = options.add_generation_prompt ? "true" : "false";
  for (const auto& [name, list] :
       {std::pair("tools", &options.tools), std::pair("documents", &options.documents)}) {
    variables.json[name] = "null";
    if (list->empty()) continue;
    SWAGE_ASSIGN_OR_RETURN(variables.json[name], required_json(*list, name, '[', "a JSON list"));
  }
  if (!options.variables.empty()) {
    SWAGE_ASSIGN_OR_RETURN(variables.members,
                           required_json(options.variables, "variables", '{', "a JSON object"));
    variables.fixed = {"messages", "tools", "documents", "add_generation_prompt"};
  }
  const Parsed& chosen = impl_->choose(!options.tools.empty());
  if (!chosen.ok()) return chosen.status();
  return (*chosen)->render(variables, options.now);
}

}  // namespace swage::text
