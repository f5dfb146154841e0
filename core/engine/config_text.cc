#include "core/engine/config_text.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxConfigBytes = 16 << 20;

// A piece of JSON text with what it is made of, where it is a table.
struct Node {
  struct Member;
  std::string_view text;
  std::vector<Member> members;
};
struct Node::Member {
  std::string key;
  std::string_view key_text;  // with its quotes
  Node node;
};

// Of text that parse_json() takes.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  Node value() {
    skip_space();
    const size_t begin = at_;
    Node node;
    if (peek() == '{')
      table(&node);
    else if (peek() == '[')
      list();
    else if (peek() == '"')
      skip_text();
    else
      at_ = std::min(text_.find_first_of(",]} \t\r\n", at_), text_.size());
    node.text = text_.substr(begin, at_ - begin);
    return node;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
  void skip_text() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_)
      if (text_[at_] == '\\') ++at_;
    ++at_;
  }
  // Behind one of the members of a table or list: is there another?
  bool next() {
    skip_space();
    return at_ < text_.size() && text_[at_++] == ',';
  }

  void table(Node* node) {
    ++at_;
    for (skip_space(); peek() == '"'; skip_space()) {
      const size_t begin = at_;
      skip_text();
      Node::Member member;
      member.key_text = text_.substr(begin, at_ - begin);
      if (const auto key = parse_json(member.key_text, "key"); key.ok() && key->text() != nullptr)
        member.key = *key->text();
      skip_space();
      ++at_;  // the colon
      member.node = value();
      node->members.push_back(std::move(member));
      if (!next()) return;
    }
    ++at_;
  }

  void list() {
    ++at_;
    for (skip_space(); at_ < text_.size() && peek() != ']'; skip_space()) {
      value();
      if (!next()) return;
    }
    ++at_;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

bool says(const Node& node, const Value& value) {
  const auto read = parse_json(node.text, "value");
  return read.ok() && *read == value;
}

class Writer {
 public:
  explicit Writer(std::string indent) : indent_(std::move(indent)) {}

  void write(const Node* node, const Value& value, int depth, std::string* out) const {
    if (node != nullptr && says(*node, value)) {
      out->append(node->text);
    } else if (node == nullptr || node->members.empty() || value.table() == nullptr ||
               value.table()->empty()) {
      absl::StrAppend(out,
                      absl::StrReplaceAll(to_json(value, width()), {{"\n", "\n" + pad(depth)}}));
    } else {
      table(*node, value, depth, out);
    }
  }

 private:
  int width() const {
    const bool spaces = indent_.find_first_not_of(' ') == indent_.npos && !indent_.empty();
    return spaces ? static_cast<int>(indent_.size()) : 2;
  }
  std::string pad(int depth) const {
    std::string text;
    for (int i = 0; i < depth; ++i) text += indent_;
    return text;
  }

  void table(const Node& node, const Value& value, int depth, std::string* out) const {
    std::set<std::string> written;
    const auto begin = [&] {
      absl::StrAppend(out, written.empty() ? "{\n" : ",\n", pad(depth + 1));
    };
    for (const Node::Member& member : node.members) {
      const auto found = value.table()->find(member.key);
      // Of a key that is given twice the last one counts.
      const auto again = [&](const Node::Member& other) {
        return &other > &member && other.key == member.key;
      };
      if (found == value.table()->end() ||
          std::any_of(node.members.begin(), node.members.end(), again))
        continue;
      begin();
      absl::StrAppend(out, std::string(member.key_text), ": ");
      write(&member.node, found->second, depth + 1, out);
      written.insert(member.key);
    }
    for (const auto& [key, item] : *value.table()) {
      if (written.count(key) > 0) continue;
      begin();
      absl::StrAppend(out, to_json(Value(key), -1), ": ");
      write(nullptr, item, depth + 1, out);
      written.insert(key);
    }
    absl::StrAppend(out, "\n", pad(depth), "}");
  }

  const std::string indent_;
};

// What stands in front of the first key.
std::string indent_of(std::string_view text) {
  const size_t key = text.find('"'), line = text.substr(0, key).rfind('\n');
  if (key == text.npos || line == text.npos) return "  ";
  return std::string(text.substr(line + 1, key - line - 1));
}

}  // namespace

std::string spelled_as(std::string_view source, const Value& value) {
  const std::string plain = to_json(value) + "\n";
  if (!parse_json(source, "source").ok()) return plain;
  const Node node = Scanner(source).value();
  if (node.members.empty()) return plain;
  std::string text;
  Writer(indent_of(source)).write(&node, value, 0, &text);
  const size_t end = source.find_last_not_of(" \t\r\n");
  text.append(source.substr(end + 1));
  const auto read = parse_json(text, "config.json"), meant = parse_json(plain, "config.json");
  return read.ok() && meant.ok() && *read == *meant ? text : plain;
}

absl::Status spell_config(const std::string& model, const std::string& folder) {
  const std::string from = (fs::path(model) / "config.json").string(),
                    to = (fs::path(folder) / "config.json").string();
  std::error_code error;
  if (!fs::is_regular_file(from, error) || !fs::is_regular_file(to, error)) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const std::string source, io::read_file(from, kMaxConfigBytes));
  SWAGE_ASSIGN_OR_RETURN(const std::string written, io::read_file(to, kMaxConfigBytes));
  const auto value = parse_json(written, to);
  if (!value.ok()) return absl::OkStatus();  // verification says so
  const std::string text = spelled_as(source, *value);
  return text == written ? absl::OkStatus() : io::write_file_atomically(to, text);
}

}  // namespace swage
