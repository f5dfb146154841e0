#include "chat_lines.h"

#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace swage::text {
namespace {

using nlohmann::ordered_json;  // templates see members in the order of the file

// The role that a name of ShareGPT stands for; "" for an unknown one.
std::string role_of(const std::string& from) {
  static const std::map<std::string, std::string> roles = {
      {"system", "system"},         {"human", "user"},        {"user", "user"},
      {"gpt", "assistant"},         {"chatgpt", "assistant"}, {"assistant", "assistant"},
      {"model", "assistant"},       {"tool", "tool"},         {"observation", "tool"},
      {"function_response", "tool"}};
  const auto it = roles.find(from);
  return it == roles.end() ? "" : it->second;
}

absl::StatusOr<ordered_json> from_share_gpt(const ordered_json& turns) {
  ordered_json messages = ordered_json::array();
  for (size_t i = 0; i < turns.size(); ++i) {
    const ordered_json& turn = turns[i];
    const bool complete = turn.is_object() && turn.contains("from") && turn["from"].is_string() &&
                          turn.contains("value") && turn["value"].is_string();
    if (!complete) {
      return absl::InvalidArgumentError(
          absl::StrCat("conversations[", i, R"(]: expected {"from": "…", "value": "…"})"));
    }
    const std::string role = role_of(turn["from"].get<std::string>());
    if (role.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "conversations[", i, "]: \"from\" is \"", turn["from"].get<std::string>(),
          "\", expected system, human, user, gpt, chatgpt, assistant, model, tool, observation "
          "or function_response"));
    }
    messages.push_back({{"role", role}, {"content", turn["value"]}});
  }
  return messages;
}

}  // namespace

bool holds_chat(const Value& line) { return line.has("messages") || line.has("conversations"); }

absl::StatusOr<std::string> render_chat(std::string_view line, const ChatTemplate& chat) {
  const ordered_json file = ordered_json::parse(line);
  const char* const key = file.contains("messages") ? "messages" : "conversations";
  ordered_json messages = file[key];
  if (!messages.is_array() || messages.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", key, "\": expected a list of messages that is not empty"));
  }
  if (key == std::string_view("conversations")) {
    auto turned = from_share_gpt(messages);
    if (!turned.ok()) return turned.status();
    messages = *std::move(turned);
  }
  ChatOptions options;
  if (file.contains("tools") && !file["tools"].is_null()) options.tools = file["tools"].dump();
  return chat.render(messages.dump(), options);
}

}  // namespace swage::text
