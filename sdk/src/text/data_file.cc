#include "swage/text/data_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "swage/status.h"
#include "swage/value.h"
#include "text/foreign_files.h"
#include "text/unicode.h"

namespace swage::text {
namespace {

namespace fs = std::filesystem;

constexpr size_t kHead = 4096;        // of a file, to know safetensors by
constexpr size_t kLinesLookedAt = 8;  // to know JSON Lines by

std::string cut_blank(absl::string_view text) {
  return std::string(absl::StripAsciiWhitespace(text));
}

std::string ending_of(const std::string& path) {
  return absl::AsciiStrToLower(fs::path(path).extension().string());
}

bool is_json_ending(const std::string& ending) {
  return ending == ".json" || ending == ".jsonl" || ending == ".ndjson";
}

absl::Status check_file(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    return absl::NotFoundError(absl::StrCat(path, ": cannot be read (",
                                            error ? error.message() : std::strerror(ENOENT), ")"));
  if (fs::is_directory(status))
    return absl::InvalidArgumentError(absl::StrCat(
        path,
        ": is a folder, expected one file: text, JSON Lines or token ids; a data set is "
        "turned into one by datasets.load_dataset(…)[\"train\"].to_json(\"data.jsonl\")"));
  if (!fs::is_regular_file(status))
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is no regular file, expected text, JSON Lines or token ids"));
  return absl::OkStatus();
}

// Eight bytes of length in front of a JSON header that fits into the file.
bool is_safetensors(absl::string_view head, uint64_t size) {
  if (head.size() < 10 || head[8] != '{') return false;
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(head[i]);
  return length >= 2 && length <= size - 8;
}

absl::Status check_encoding(const std::string& path, const std::string& content) {
  const size_t bad = find_bad_utf8(content), zero = content.find('\0');
  if (bad == kValidUtf8 && zero == std::string::npos) return absl::OkStatus();
  const size_t at = std::min(bad, zero);
  const auto line =
      1 + std::count(content.begin(), content.begin() + static_cast<int64_t>(at), '\n');
  if (zero == at) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ":", line, ": byte ", at,
                     " of the file is 0, so this is no text; expected UTF-8 (iconv -f UTF-16 -t "
                     "UTF-8 converts text of 16 bits)"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(path, ":", line, ": byte ", at, " of the file is not valid UTF-8"));
}

// The first lines that are not blank.
std::vector<std::string> first_lines(absl::string_view content) {
  std::vector<std::string> lines;
  for (const absl::string_view line : absl::StrSplit(content, '\n')) {
    if (std::string text = cut_blank(line); !text.empty()) lines.push_back(std::move(text));
    if (lines.size() == kLinesLookedAt) break;
  }
  return lines;
}

bool is_json_container(const std::string& text) {
  if (text.empty() || (text[0] != '{' && text[0] != '[')) return false;
  return parse_json(text, "").ok();
}

DataKind kind_of(const Value& value) {
  if (value.has("input_ids") && !value.has("text")) return DataKind::kIds;
  return value.has("messages") || value.has("conversations") ? DataKind::kChats : DataKind::kTexts;
}

// A text or chat alone in its file is one line of JSON Lines.
bool is_document(const Value& value, size_t lines, const std::string& ending) {
  if (value.list() != nullptr) return true;
  if (value.table() == nullptr) return false;
  return lines > 1 ||
         (ending == ".json" && kind_of(value) != DataKind::kChats && !value.has("text"));
}

// One JSON document over the whole file: token ids.
absl::Status take_document(const Value& value, DataFile* file) {
  if (value.list() != nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        file->path, ": is one JSON list; expected one document a line, which makes: jq -c '.[]' ",
        file->path, " > data.jsonl"));
  }
  file->kind = DataKind::kIds;
  return absl::OkStatus();
}

// JSON Lines where every line looked at is JSON, or where the name says so.
absl::Status settle_kind(DataFile* file) {
  const std::string ending = ending_of(file->path);
  const std::vector<std::string> lines = first_lines(file->content);
  const auto count = std::count_if(lines.begin(), lines.end(), is_json_container);
  const auto all = static_cast<std::ptrdiff_t>(lines.size());
  const bool named_lines = ending == ".jsonl" || ending == ".ndjson";
  const bool begins = lines[0][0] == '{' || lines[0][0] == '[';
  if (all == 1 || (count == 0 && ending == ".json") || (begins && !is_json_container(lines[0]))) {
    const auto value = parse_json(file->content, file->path);
    if (value.ok() && is_document(*value, lines.size(), ending)) return take_document(*value, file);
    if (!value.ok() && ending == ".json") return value.status();
  }
  if (count < all && count > 0 && !is_json_ending(ending) && !is_plain_ending(ending)) {
    return absl::InvalidArgumentError(
        absl::StrCat(file->path, ": of its first ", all, " lines ", count,
                     " are JSON and the others are not; name it .jsonl if each line should be, "
                     ".txt if it is text"));
  }
  if (count < all && !is_json_ending(ending)) return absl::OkStatus();  // text
  file->is_lines = true;
  const auto first = parse_json(lines[0], "");
  file->kind = first.ok() ? kind_of(*first) : DataKind::kTexts;
  if (!named_lines && !(ending == ".json" && file->kind == DataKind::kIds))
    file->remarks.push_back(
        absl::StrCat(file->path, " holds JSON Lines and is read as such, whatever its name is"));
  return absl::OkStatus();
}

}  // namespace

const char* name_of(DataKind kind) {
  static constexpr const char* kNames[] = {"text", "texts", "chats", "token ids", "tensors"};
  return kNames[static_cast<int>(kind)];
}

absl::StatusOr<DataFile> read_data_file(const std::string& path) {
  SWAGE_RETURN_IF_ERROR(check_file(path));
  DataFile file;
  file.path = path;
  std::ifstream stream(path, std::ios::binary);
  std::error_code ignored;
  const uint64_t size = fs::file_size(path, ignored);
  std::string& content = file.content;
  if (stream) {
    content.resize(kHead);
    stream.read(content.data(), kHead);
    content.resize(static_cast<size_t>(stream.gcount()));
  }
  const std::string ending = ending_of(path);
  if (is_safetensors(content, size)) {
    content.clear();
    file.kind = DataKind::kTensors;
    if (ending != ".safetensors")
      file.remarks.push_back(
          absl::StrCat(path, " holds tensors and is read as such, whatever its name is"));
    return file;
  }
  SWAGE_RETURN_IF_ERROR(check_foreign(path, content));
  if (!stream.eof() && stream) content.append(std::istreambuf_iterator<char>(stream), {});
  if (!stream.is_open() || stream.bad())
    return absl::NotFoundError(absl::StrCat(path, ": cannot be read (", std::strerror(errno), ")"));
  if (absl::StartsWith(content, "\xEF\xBB\xBF")) {
    content.erase(0, 3);
    file.remarks.push_back(absl::StrCat(path, ": the byte order mark in front is no text"));
  }
  if (cut_blank(content).empty())
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the file is empty, expected text or token ids"));
  SWAGE_RETURN_IF_ERROR(check_encoding(path, content));
  SWAGE_RETURN_IF_ERROR(settle_kind(&file));
  if (file.kind == DataKind::kText) SWAGE_RETURN_IF_ERROR(check_text_ending(path, ending));
  return file;
}

}  // namespace swage::text
