// Texts and chats as data sets write them. What nothing here understands is refused: a picture that
// a template turned into a placeholder would otherwise count as text.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "swage/status.h"
#include "swage/text/data_file.h"
#include "swage/value.h"

namespace swage::text {
namespace {

using nlohmann::ordered_json;  // templates see members in the order of the file
using Keys = std::set<std::string, std::less<>>;

constexpr const char* kParts =
    R"(text is {"type": "text", "text": "…"}, a picture {"type": "image", "image": "FILE"})";

// Beside a chat these say where it is from, not what was said.
const Keys kBookkeeping = {"id",          "uuid",         "prompt_id", "conversation_id",
                           "question_id", "session_id",   "user_id",   "source",
                           "dataset",     "dataset_name", "category",  "language",
                           "lang",        "model",        "topic",     "conversation_hash",
                           "hash",        "timestamp",    "date",      "split",
                           "license",     "url",          "meta",      "metadata",
                           "tags",        "score",        "title",     "created_at",
                           "turn_id",     "subset"};
// Of a message; templates read them.
const Keys kOfMessage = {"role",         "content",           "name",     "tool_calls",
                         "tool_call_id", "reasoning_content", "thinking", "reasoning",
                         "id",           "timestamp"};

bool is_empty(const ordered_json& value) {
  return value.is_null() || (value.is_structured() && value.empty()) ||
         (value.is_string() && value.get_ref<const std::string&>().empty());
}

bool carries_content(const ordered_json& value) {
  return !is_empty(value) && !value.is_number() && !value.is_boolean();
}

absl::Status wrong(const std::string& place, const std::string& what) {
  return absl::InvalidArgumentError(place.empty() ? what : absl::StrCat(place, ": ", what));
}

// Every key of the object is one of `known`, or carries nothing.
absl::Status check_keys(const ordered_json& object, const Keys& known, const std::string& place,
                        const std::string& way_out) {
  for (const auto& [key, value] : object.items()) {
    if (known.count(key) > 0 || !carries_content(value)) continue;
    return wrong(place, absl::StrCat("\"", shortened(key),
                                     "\" is not understood here and would be lost; ", way_out));
  }
  return absl::OkStatus();
}

std::string type_of(const ordered_json& part) {
  if (!part.is_object()) return absl::StrCat("a ", part.type_name(), " among the parts");
  const auto type = part.find("type");
  if (type == part.end() || !type->is_string()) return "a part without \"type\"";
  return absl::StrCat("a part of type \"", shortened(type->get<std::string>()), "\"");
}

absl::Status read_picture(const ordered_json& part, const std::string& place, DataLine* line) {
  const std::string* file = nullptr;
  for (const char* key : {"image", "path", "url"}) {
    const auto found = part.find(key);
    if (found == part.end() || is_empty(*found)) continue;
    if (!found->is_string() || file != nullptr)
      return wrong(place, absl::StrCat("a picture is not named by one file: ", kParts));
    file = found->get_ptr<const std::string*>();
  }
  if (file == nullptr) return wrong(place, absl::StrCat("a picture without its file: ", kParts));
  SWAGE_RETURN_IF_ERROR(check_keys(part, {"type", "image", "path", "url"}, place,
                                   absl::StrCat("pictures are prepared as the model's "
                                                "preprocessor_config.json says")));
  line->pictures.push_back(*file);
  return absl::OkStatus();
}

// The form of OpenAI's interface; templates are handed the one they know.
absl::StatusOr<ordered_json> from_image_url(const ordered_json& part, const std::string& place) {
  SWAGE_RETURN_IF_ERROR(check_keys(part, {"type", "image_url"}, place, kParts));
  const auto found = part.find("image_url");
  if (found != part.end() && found->is_object()) {
    SWAGE_RETURN_IF_ERROR(check_keys(*found, {"url"}, place, kParts));
  }
  const ordered_json url = found == part.end()  ? ordered_json()
                           : found->is_object() ? found->value("url", ordered_json())
                                                : *found;
  if (!url.is_string())
    return wrong(place, absl::StrCat("a picture is not named by one file: ", kParts));
  return ordered_json{{"type", "image"}, {"image", url}};
}

absl::Status read_part(ordered_json& part, const std::string& place, DataLine* line) {
  const std::string type = type_of(part);
  if (type == "a part of type \"image_url\"") {
    SWAGE_ASSIGN_OR_RETURN(part, from_image_url(part, place));
    return read_picture(part, place, line);
  }
  if (type == "a part of type \"image\"") return read_picture(part, place, line);
  const bool is_text = type == "a part of type \"text\"";
  if (!is_text) return wrong(place, absl::StrCat(type, " is not understood: ", kParts));
  const auto text = part.find("text");
  if (text == part.end() || !text->is_string())
    return wrong(place, absl::StrCat("a text without \"text\": ", kParts));
  return check_keys(part, {"type", "text"}, place, kParts);
}

// Content is text, parts, nothing beside calls of tools, or what a tool gave.
absl::Status read_message(ordered_json& message, const std::string& place, DataLine* line) {
  const bool has_role =
      message.is_object() && message.contains("role") && message["role"].is_string();
  if (!has_role) return wrong(place, R"(expected {"role": "…", "content": "…"})");
  SWAGE_RETURN_IF_ERROR(
      check_keys(message, kOfMessage, place, R"(put it into "content", or leave it out)"));
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) {
    const auto calls = message.find("tool_calls");
    if (calls != message.end() && !is_empty(*calls)) return absl::OkStatus();
    return wrong(place, "there is no \"content\", expected text or a list of parts");
  }
  const std::string role = message["role"].get<std::string>();
  if (content->is_string()) return absl::OkStatus();
  if (content->is_object() && (role == "tool" || role == "ipython")) return absl::OkStatus();
  if (!content->is_array())
    return wrong(place, absl::StrCat("\"content\" is a ", content->type_name(),
                                     ", expected text or a list of parts"));
  for (size_t i = 0; i < content->size(); ++i)
    SWAGE_RETURN_IF_ERROR(read_part((*content)[i], absl::StrCat(place, ".content[", i, "]"), line));
  return absl::OkStatus();
}

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
    const std::string place = absl::StrCat("conversations[", i, "]");
    const bool complete = turn.is_object() && turn.contains("from") && turn["from"].is_string() &&
                          turn.contains("value") && turn["value"].is_string();
    if (!complete) return wrong(place, R"(expected {"from": "…", "value": "…"})");
    SWAGE_RETURN_IF_ERROR(check_keys(turn, {"from", "value", "id", "timestamp"}, place,
                                     R"(put it into "value", or leave it out)"));
    const std::string role = role_of(turn["from"].get<std::string>());
    if (role.empty()) {
      return wrong(place, absl::StrCat("\"from\" is \"", shortened(turn["from"].get<std::string>()),
                                       "\", expected system, human, user, gpt, chatgpt, assistant, "
                                       "model, tool, observation or function_response"));
    }
    messages.push_back({{"role", role}, {"content", turn["value"]}});
  }
  return messages;
}

// Beside a chat: bookkeeping, and what one of the messages says as well.
absl::Status check_beside(const ordered_json& file, const char* key, const ordered_json& messages) {
  Keys known = kBookkeeping;
  known.insert({key, "tools"});
  for (const auto& [other, value] : file.items()) {
    const auto says = [&, text = &value](const ordered_json& message) {
      return message.is_object() && message.contains("content") && message["content"] == *text;
    };
    if (value.is_string() && std::any_of(messages.begin(), messages.end(), says))
      known.insert(other);
  }
  return check_keys(file, known, "",
                    absl::StrCat("pictures belong into the messages (", kParts,
                                 "), a system prompt is a message; leave out what the model shall "
                                 "not read: jq -c '{",
                                 key, "}'"));
}

absl::Status read_chat(const ordered_json& file, DataLine* line) {
  line->is_chat = true;
  const char* const key = file.contains("messages") ? "messages" : "conversations";
  ordered_json messages = file[key];
  if (!messages.is_array() || messages.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", key, "\": expected a list of messages that is not empty"));
  }
  if (key == std::string_view("conversations")) {
    SWAGE_ASSIGN_OR_RETURN(messages, from_share_gpt(messages));
  }
  for (size_t i = 0; i < messages.size(); ++i)
    SWAGE_RETURN_IF_ERROR(read_message(messages[i], absl::StrCat("messages[", i, "]"), line));
  SWAGE_RETURN_IF_ERROR(check_beside(file, key, messages));
  if (file.contains("tools") && !file["tools"].is_null()) line->tools = file["tools"].dump();
  line->messages = messages.dump();
  return absl::OkStatus();
}

// Data sets of texts have columns about them; only those that would be read as well are refused.
absl::Status read_text(const ordered_json& file, DataLine* line) {
  line->text = file["text"].get<std::string>();
  for (const char* key : {"image", "video", "videos", "audio", "audios", "input_ids", "messages",
                          "conversations", "pixel_values"}) {
    if (!file.contains(key) || is_empty(file[key])) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("\"", key,
                     "\" beside \"text\" would be lost; expected {\"text\": \"…\"}, with "
                     "\"images\": [\"FILE\", …] for pictures"));
  }
  if (!file.contains("images") || file["images"].is_null()) return absl::OkStatus();
  const ordered_json& images = file["images"];
  const auto is_text = [](const ordered_json& item) { return item.is_string(); };
  if (!images.is_array() || !std::all_of(images.begin(), images.end(), is_text))
    return absl::InvalidArgumentError("\"images\": expected a list of files");
  line->pictures = images.get<std::vector<std::string>>();
  return absl::OkStatus();
}

}  // namespace

std::string shortened(const std::string& name) {
  constexpr size_t kMost = 60;
  if (name.size() <= kMost) return name;
  size_t end = kMost;
  while (end > 0 && (name[end] & 0xC0) == 0x80) --end;  // no character is cut
  return absl::StrCat(name.substr(0, end), "… (", name.size(), " bytes)");
}

absl::StatusOr<DataLine> read_data_line(std::string_view text) {
  constexpr const char* kExpected =
      R"(expected {"text": "…"}, {"messages": […]} or {"conversations": […]})";
  SWAGE_ASSIGN_OR_RETURN(const Value checked, parse_json(text, "this line"));
  if (checked.table() == nullptr)
    return absl::InvalidArgumentError(absl::StrCat("this line is ", checked.is_null() ? "" : "a ",
                                                   checked.type_name(), ", ", kExpected));
  const ordered_json file = ordered_json::parse(text);
  DataLine line;
  absl::Status read;
  if (file.contains("text") && file["text"].is_string()) {
    read = read_text(file, &line);
  } else if (checked.has("messages") || checked.has("conversations")) {
    read = read_chat(file, &line);
  } else if (checked.table()->count("text") > 0) {
    const Value& found = checked["text"];
    read = absl::InvalidArgumentError(absl::StrCat("\"text\" is ", found.is_null() ? "" : "a ",
                                                   found.type_name(), ", ", kExpected));
  } else {
    std::vector<std::string> keys;
    for (const auto& [key, value] : *checked.table()) keys.push_back(key);
    read = absl::InvalidArgumentError(absl::StrCat(
        "there is no \"text\"", keys.empty() ? "" : " among the keys ",
        absl::StrJoin(keys.begin(), keys.begin() + std::min<size_t>(keys.size(), 8), ", "), "; ",
        kExpected));
  }
  if (!read.ok()) return read;
  return line;
}

}  // namespace swage::text
