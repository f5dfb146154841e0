#include "source.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "chat_lines.h"
#include "swage/status.h"
#include "swage/value.h"
#include "unicode.h"

namespace swage::text {
namespace {

absl::StatusOr<std::string> read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return absl::NotFoundError(absl::StrCat(path, ": cannot be read (", std::strerror(errno), ")"));
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (file.bad())
    return absl::DataLossError(
        absl::StrCat(path, ": reading broke off (", std::strerror(errno), ")"));
  if (content.find_first_not_of(" \t\r\n") == std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the file is empty, expected text or token ids"));
  }
  if (const size_t bad = find_bad_utf8(content); bad != kValidUtf8) {
    const auto line =
        1 + std::count(content.begin(), content.begin() + static_cast<int64_t>(bad), '\n');
    return absl::InvalidArgumentError(
        absl::StrCat(path, ":", line, ": byte ", bad, " of the file is not valid UTF-8"));
  }
  return content;
}

// One line of .jsonl; errors do not name it.
absl::Status read_line(std::string_view line, const absl::StatusOr<ChatTemplate>& chat,
                       Source* source) {
  SWAGE_ASSIGN_OR_RETURN(const Value value, parse_json(line, "this line"));
  const std::string* text = value["text"].text();
  const bool is_chat = text == nullptr && holds_chat(value);
  if (text == nullptr && !is_chat) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"text\" is a ", value["text"].type_name(),
                     R"(, expected {"text": "…"}, {"messages": […]} or {"conversations": […]})"));
  }
  if (!source->documents.empty() && is_chat != source->is_chat) {
    return absl::InvalidArgumentError(is_chat ? "a chat in a file of texts; keep them apart"
                                              : "a text in a file of chats; keep them apart");
  }
  source->is_chat = is_chat;
  if (!is_chat) {
    source->documents.push_back(*text);
    return absl::OkStatus();
  }
  SWAGE_RETURN_IF_ERROR(chat.status());
  SWAGE_ASSIGN_OR_RETURN(std::string rendered, render_chat(line, *chat));
  source->documents.push_back(std::move(rendered));
  return absl::OkStatus();
}

absl::Status read_lines(const std::string& path, const std::string& content,
                        const absl::StatusOr<ChatTemplate>& chat, Source* source) {
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(content, '\n')) {
    ++number;
    if (line.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    SWAGE_RETURN_IF_ERROR(annotate(read_line({line.data(), line.size()}, chat, source),
                                   absl::StrCat(path, ":", number)));
  }
  return absl::OkStatus();
}

absl::Status read_ids(const std::string& path, const std::string& content, Source* source) {
  SWAGE_ASSIGN_OR_RETURN(const Value value, parse_json(content, path));
  const Value::List* sequences = value["input_ids"].list();
  if (sequences == nullptr || sequences->empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, R"(: expected token ids as {"input_ids": [[1, 2, …], …]})"));
  }
  for (size_t i = 0; i < sequences->size(); ++i) {
    const Value::List* ids = (*sequences)[i].list();
    if (ids == nullptr || ids->empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": input_ids[", i, "] is ", ids == nullptr ? (*sequences)[i].type_name() : "empty",
          ", expected a list of token ids"));
    }
    auto& sequence = source->sequences.emplace_back();
    for (const Value& id : *ids) {
      if (id.integer() == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat(path, ": input_ids[", i, "][",
                                                       sequence.size(), "] is a ", id.type_name(),
                                                       ", expected an integer"));
      }
      sequence.push_back(*id.integer());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Source> read_source(const std::string& path,
                                   const absl::StatusOr<ChatTemplate>& chat) {
  SWAGE_ASSIGN_OR_RETURN(std::string content, read_all(path));
  Source source;
  if (absl::EndsWith(path, ".json")) {
    source.is_ids = true;
    SWAGE_RETURN_IF_ERROR(read_ids(path, content, &source));
  } else if (absl::EndsWith(path, ".jsonl")) {
    SWAGE_RETURN_IF_ERROR(read_lines(path, content, chat, &source));
  } else {
    source.documents.push_back(std::move(content));
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
