#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/text/chat_template.h"
#include "swage/text/tokenizer.h"

namespace swage::text {

// What a file of text, chats or token ids holds.
struct Source {
  std::vector<std::string> documents;           // JSON Lines: one a line; other text: one
  std::vector<std::vector<int64_t>> sequences;  // of token ids, without padding
  bool is_ids = false;
  bool is_chat = false;  // the documents are rendered chats: special tokens stand in them
};

// `chat` is the template that chats are rendered with, or says why there is none. Errors name the
// file and, where there is one, the line: unreadable, empty, bad UTF-8, bad JSON, chats that the
// template refuses, texts and chats in one file.
absl::StatusOr<Source> read_source(const std::string& path,
                                   const absl::StatusOr<ChatTemplate>& chat);

// All documents as one sequence: texts joined by an empty line, chats one behind the other.
absl::StatusOr<std::vector<int64_t>> encode_joined(const Source& source, const Tokenizer& tokenizer,
                                                   bool special_tokens);

}  // namespace swage::text
