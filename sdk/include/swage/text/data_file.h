#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"

// Files of text, chats and token ids: what calibration and evaluations draw from.
namespace swage::text {

enum class DataKind { kText, kTexts, kChats, kIds, kTensors };
SWAGE_API const char* name_of(DataKind kind);  // "text", "texts", "chats", "token ids", "tensors"

// A file, and what it is by its content. Its name decides nothing, but a name that promises another
// content is an error, or a remark where the content leaves no doubt.
struct SWAGE_API DataFile {
  std::string path;
  DataKind kind = DataKind::kText;
  bool is_lines = false;             // JSON Lines: one document, chat or list of ids a line
  std::string content;               // UTF-8 without a byte order mark; "" of tensors
  std::vector<std::string> remarks;  // what a user should know
};

// Errors name the file and, where there is one, the line: unreadable, no regular file, empty, other
// encodings, packed or binary files and tables (each with the way to convert it), broken JSON.
SWAGE_API absl::StatusOr<DataFile> read_data_file(const std::string& path);

// One line of JSON Lines that holds a text or a chat.
struct SWAGE_API DataLine {
  bool is_chat = false;
  std::string text;                   // of a text
  std::string messages, tools;        // of a chat: JSON as templates read it; tools may be ""
  std::vector<std::string> pictures;  // files, in the order in which they stand
};

// {"text": …, "images": […]}, {"messages": […], "tools": […]} or {"conversations": […]}, the form
// of ShareGPT, which becomes messages. InvalidArgument: content that would be lost, since nothing
// here understands it: other parts than text and pictures, keys beside that carry content.
SWAGE_API absl::StatusOr<DataLine> read_data_line(std::string_view line);

// A name for a message: what is too long to be one (a picture within the data) is cut.
SWAGE_API std::string shortened(const std::string& name);

// What stands beside a sequence of token ids under transformers' names, each as long as the ids.
using BesideIds = std::map<std::string, std::vector<int64_t>>;
// Whether attended_tokens() knows such a name.
SWAGE_API bool is_known_beside_ids(std::string_view name);
// The sequence without the padding that attention_mask hides in front or behind. InvalidArgument: a
// mask with holes or without any token, position_ids other than 0, 1, 2 …, token_type_ids other
// than 0, names that are not known. Labels and the like change nothing.
SWAGE_API absl::StatusOr<std::vector<int64_t>> attended_tokens(const std::vector<int64_t>& ids,
                                                               const BesideIds& beside);

}  // namespace swage::text
