#include "source.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "swage/status.h"
#include "swage/text/data_file.h"
#include "swage/value.h"

namespace swage::text {
namespace {

constexpr const char* kWantedIds = R"(expected token ids as {"input_ids": [[1, 2, …], …]})";

// Integers, and what Python writes for a mask of booleans.
absl::StatusOr<std::vector<int64_t>> read_integers(const Value& value, const std::string& place) {
  const Value::List* list = value.list();
  if (list == nullptr || list->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(place, " is ",
                                                   list == nullptr ? value.type_name() : "empty",
                                                   ", expected a list of token ids"));
  }
  std::vector<int64_t> integers;
  for (const Value& item : *list) {
    if (item.integer() == nullptr && item.boolean() == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(place, "[", integers.size(), "] is a ",
                                                     item.type_name(), ", expected an integer"));
    }
    integers.push_back(item.integer() != nullptr ? *item.integer() : *item.boolean() ? 1 : 0);
  }
  return integers;
}

// Sequence `index` of a key; a flat list is the one sequence there is.
absl::StatusOr<std::vector<int64_t>> read_row(const Value& value, bool is_flat, size_t index,
                                              const std::string& key) {
  if (is_flat) return read_integers(value, key);
  const Value::List* rows = value.list();
  if (rows == nullptr || index >= rows->size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", key, "\" has no list for sequence ", index, " of input_ids"));
  }
  return read_integers((*rows)[index], absl::StrCat(key, "[", index, "]"));
}

absl::Status read_ids(const Value& value, Source* source) {
  const Value& ids = value["input_ids"];
  if (ids.list() == nullptr || ids.list()->empty()) return absl::InvalidArgumentError(kWantedIds);
  const bool is_flat = ids.list()->front().integer() != nullptr;
  const size_t count = is_flat ? 1 : ids.list()->size();
  for (size_t i = 0; i < count; ++i) {
    SWAGE_ASSIGN_OR_RETURN(const auto sequence, read_row(ids, is_flat, i, "input_ids"));
    BesideIds beside;
    for (const auto& [key, own] : *value.table()) {
      // Single values are notes about the file.
      const bool is_note = own.list() == nullptr && own.table() == nullptr;
      if (key == "input_ids" || key == "offset_mapping" || is_note) continue;
      if (!is_known_beside_ids(key)) {
        beside[key] = {};  // refused by its name
      } else if (key == "attention_mask" || key == "position_ids" || key == "token_type_ids") {
        SWAGE_ASSIGN_OR_RETURN(beside[key], read_row(own, is_flat, i, key));
      }
    }
    auto tokens = attended_tokens(sequence, beside);
    if (!tokens.ok()) return annotate(tokens.status(), absl::StrCat("sequence ", i));
    source->sequences.push_back(*std::move(tokens));
  }
  return absl::OkStatus();
}

// One line of JSON Lines; errors do not name it.
absl::Status read_line(std::string_view text, const absl::StatusOr<ChatTemplate>& chat,
                       Source* source) {
  if (source->is_ids) {
    SWAGE_ASSIGN_OR_RETURN(const Value value, parse_json(text, "this line"));
    if (value.table() == nullptr) return absl::InvalidArgumentError(kWantedIds);
    return read_ids(value, source);
  }
  SWAGE_ASSIGN_OR_RETURN(const DataLine line, read_data_line(text));
  if (!source->documents.empty() && line.is_chat != source->is_chat) {
    return absl::InvalidArgumentError(line.is_chat ? "a chat in a file of texts; keep them apart"
                                                   : "a text in a file of chats; keep them apart");
  }
  source->is_chat = line.is_chat;
  if (!line.pictures.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("names the picture \"", shortened(line.pictures.front()),
                     "\", but here text alone is read: either this model reads no pictures, or "
                     "their chats are not read here"));
  }
  if (!line.is_chat) {
    source->documents.push_back(line.text);
    return absl::OkStatus();
  }
  SWAGE_RETURN_IF_ERROR(chat.status());
  ChatOptions options;
  options.tools = line.tools;
  SWAGE_ASSIGN_OR_RETURN(std::string rendered, chat->render(line.messages, options));
  source->documents.push_back(std::move(rendered));
  return absl::OkStatus();
}

absl::Status read_lines(const DataFile& file, const absl::StatusOr<ChatTemplate>& chat,
                        Source* source) {
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(file.content, '\n')) {
    ++number;
    if (line.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    SWAGE_RETURN_IF_ERROR(annotate(read_line({line.data(), line.size()}, chat, source),
                                   absl::StrCat(file.path, ":", number)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Source> read_source(const std::string& path,
                                   const absl::StatusOr<ChatTemplate>& chat) {
  SWAGE_ASSIGN_OR_RETURN(DataFile file, read_data_file(path));
  Source source;
  source.is_ids = file.kind == DataKind::kIds;
  if (file.kind == DataKind::kTensors) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": holds tensors, expected text, JSON Lines or token ids as JSON"));
  }
  if (file.is_lines) {
    SWAGE_RETURN_IF_ERROR(read_lines(file, chat, &source));
  } else if (source.is_ids) {
    SWAGE_ASSIGN_OR_RETURN(const Value value, parse_json(file.content, path));
    SWAGE_RETURN_IF_ERROR(annotate(read_ids(value, &source), path));
  } else {
    source.documents.push_back(std::move(file.content));
  }
  return source;
}

absl::StatusOr<std::vector<int64_t>> encode_joined(const Source& source, const Tokenizer& tokenizer,
                                                   bool special_tokens) {
  if (!source.is_chat)
    return tokenizer.encode(absl::StrJoin(source.documents, "\n\n"), special_tokens);
  std::vector<int64_t> all;
  for (const std::string& document : source.documents) {
    SWAGE_ASSIGN_OR_RETURN(const std::vector<int64_t> ids, tokenizer.encode(document, false));
    all.insert(all.end(), ids.begin(), ids.end());
  }
  return all;
}

}  // namespace swage::text
