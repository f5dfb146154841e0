#pragma once
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "swage/text/chat_template.h"
#include "swage/value.h"

// Chats as data sets write them, one a line of .jsonl.
namespace swage::text {

// Whether the line has {"messages": …} or {"conversations": …}.
bool holds_chat(const Value& line);

// The chat of a line that parses as JSON, rendered. {"messages": [{"role", "content"}, …]} is taken
// as it is, "tools" beside it as well; {"conversations": [{"from", "value"}, …]}, the form of
// ShareGPT, is turned into it.
absl::StatusOr<std::string> render_chat(std::string_view line, const ChatTemplate& chat);

}  // namespace swage::text
