#pragma once
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"

namespace swage::text {

// What a rendering is given beside the messages. Texts called JSON are "" for none (None in the
// template).
struct SWAGE_API ChatOptions {
  bool add_generation_prompt = false;
  std::string tools;      // JSON list; chooses the template `tool_use` where a model has one
  std::string documents;  // JSON list
  // JSON object: other variables, such as {"enable_thinking": false}. They hide special tokens of
  // the same name.
  std::string variables;
  // What strftime_now tells; without it, the local time.
  std::optional<std::tm> now;
};

// The chat template of a model: a Jinja template that turns messages into the text a model was
// trained on, rendered as transformers renders it. Templates come with models, so they count as
// hostile: they reach nothing but their variables, and size, time, memory and depth are limited.
// Immutable and thread-safe.
class SWAGE_API ChatTemplate {
 public:
  // Reads `folder`: chat_template.jinja, else "chat_template" of chat_template.json, else that of
  // tokenizer_config.json; a text, or a list of {"name": …, "template": …} that has a `default`.
  // Special tokens come from tokenizer_config.json and, where it lacks them,
  // special_tokens_map.json. NotFound when there is no template; InvalidArgument names file and
  // place.
  static absl::StatusOr<ChatTemplate> load(const std::string& folder);
  // The same of files by name and content, as a checkpoint hands them out; errors place them in
  // `origin`.
  static absl::StatusOr<ChatTemplate> from_files(
      const std::vector<std::pair<std::string, std::string>>& files, const std::string& origin);
  // Special tokens by the name of their variable: {"bos_token", "<s>"}. InvalidArgument begins with
  // "line:column: ".
  static absl::StatusOr<ChatTemplate> parse(
      std::string_view text, const std::map<std::string, std::string>& special_tokens = {});
  ChatTemplate(const ChatTemplate&);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(const ChatTemplate&);
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // `messages` is a JSON list of {"role": …, "content": …}. InvalidArgument when the template
  // refuses them (raise_exception) or does what Jinja refuses, with line and column in the
  // template; ResourceExhausted when it needs more than the limits.
  absl::StatusOr<std::string> render(std::string_view messages,
                                     const ChatOptions& options = {}) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace swage::text
