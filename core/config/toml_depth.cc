#include "core/config/toml_depth.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"

namespace swage {
namespace {

// Follows strings, comments, brackets and the dots of keys, no more.
class DepthScan {
 public:
  explicit DepthScan(std::string_view text) : text_(text) {}

  // Where the file is too deep; npos when it nowhere is.
  size_t run() {
    while (at_ < text_.size()) {
      step();
      if (depth() > kMaxTomlDepth) return std::min(at_, text_.size()) - 1;
    }
    return std::string_view::npos;
  }

 private:
  int depth() const { return within_ + key_ + dots_ + static_cast<int>(open_.size()); }

  void step() {
    const char c = text_[at_];
    if (c == '"' || c == '\'') return skip_string(c);
    if (c == '#') {
      at_ = std::min(text_.find('\n', at_), text_.size());
      return;
    }
    ++at_;
    if (c == '.') {
      ++dots_;
    } else if (c == '=') {
      key_ = dots_;
      dots_ = 0;
    } else if (c == '[' || c == '{') {
      open_.push_back(key_);
      within_ += key_;
      key_ = dots_ = 0;
    } else if (c == ']' || c == '}') {
      close();
    } else if (c == ',' || (c == '\n' && open_.empty())) {
      key_ = dots_ = 0;
    }
  }

  void close() {
    key_ = dots_ = 0;
    if (open_.empty()) return;
    within_ -= open_.back();
    open_.pop_back();
  }

  void skip_string(char quote) {
    const std::string_view three = text_.substr(at_, 3);
    const bool lines = three.size() == 3 && three[1] == quote && three[2] == quote;
    at_ += lines ? 3 : 1;
    for (; at_ < text_.size(); ++at_) {
      if (quote == '"' && text_[at_] == '\\') {
        ++at_;
      } else if (!lines && (text_[at_] == quote || text_[at_] == '\n')) {
        break;
      } else if (lines && text_.substr(at_, 3) == three) {
        at_ += 2;
        break;
      }
    }
    at_ = std::min(at_ + 1, text_.size());
  }

  const std::string_view text_;
  size_t at_ = 0;
  int dots_ = 0;           // of the key, or the number, that is being read
  int key_ = 0;            // of the key whose value comes
  int within_ = 0;         // of the keys whose lists and tables are open
  std::vector<int> open_;  // dots of the key in front of each open bracket
};

}  // namespace

absl::Status check_toml_depth(std::string_view text, const std::string& origin) {
  const size_t found = DepthScan(text).run();
  if (found == std::string_view::npos) return absl::OkStatus();
  const std::string_view before = text.substr(0, found);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const size_t start = before.rfind('\n');
  const size_t column = start == std::string_view::npos ? found + 1 : found - start;
  return absl::InvalidArgumentError(absl::StrCat(
      origin, ":", line, ":", column, ": tables, lists and dotted keys go deeper than ",
      kMaxTomlDepth, " levels here; a pipeline file needs a few"));
}

}  // namespace swage
