#include <algorithm>
#include <cctype>

#include "absl/strings/str_cat.h"
#include "regex.h"

namespace swage::text {
namespace {

// White_Space without U+180E, which PCRE2 counts in. The complement is spelled out: it must work
// inside of a class.
constexpr std::string_view kSpace =
    "\\t-\\r "
    "\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";
constexpr std::string_view kNoSpace =
    "\\x{0}-\\x{8}\\x{E}-\\x{1F}!-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}"
    "\\x{200B}-\\x{2027}\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{"
    "10FFFF}";
// Letters with their marks and connectors, where PCRE2 counts neither marks nor connectors in.
constexpr std::string_view kWord =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}"
    "\\x{1F170}-\\x{1F189}";

absl::Status refuse(std::string_view pattern, size_t at, std::string_view what) {
  return absl::UnimplementedError(absl::StrCat("the regular expression ", std::string(pattern),
                                               " uses ", std::string(what), " at byte ", at,
                                               ", which is not supported"));
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      absl::Status status;
      if (c == '\\') {
        status = escape();
      } else if (in_class_) {
        status = class_member(c);
      } else if (c == '[') {
        open_class();
      } else {
        status = plain(c);
      }
      if (!status.ok()) return status;
    }
    return out_;
  }

 private:
  absl::Status escape() {
    if (at_ + 1 == pattern_.size()) return refuse(pattern_, at_, "a backslash at its end");
    const char c = pattern_[at_ + 1];
    if (c == 's') {
      add_set(kSpace);
    } else if (c == 'S') {
      add_set(kNoSpace);
    } else if (c == 'w') {
      add_set(kWord);
    } else if (c == 'W' && !in_class_) {
      absl::StrAppend(&out_, "[^", absl::string_view(kWord.data(), kWord.size()), "]");
    } else if (c == 'u' && at_ + 6 <= pattern_.size()) {
      out_ += "\\x{" + std::string(pattern_.substr(at_ + 2, 4)) + "}";
      at_ += 4;
    } else if (std::string_view(in_class_ ? "dDpPxrntfvea" : "dDpPxrntfveaAz").find(c) !=
                   std::string_view::npos ||
               !std::isalnum(static_cast<unsigned char>(c))) {
      size_t length = 2;  // with the braces of \p{…} and \x{…}
      if (std::string_view("pPx").find(c) != std::string_view::npos &&
          pattern_.substr(at_ + 2, 1) == "{") {
        length = std::min(pattern_.find('}', at_), pattern_.size() - 1) + 1 - at_;
      }
      out_ += pattern_.substr(at_, length);
      at_ += length - 2;
    } else {
      return refuse(pattern_, at_, absl::StrCat("\\", std::string(1, c)));
    }
    at_ += 2;
    return absl::OkStatus();
  }

  void add_set(std::string_view set) {
    if (!in_class_) out_ += '[';
    out_ += set;
    if (!in_class_) out_ += ']';
  }

  void open_class() {
    in_class_ = true;
    out_ += pattern_[at_++];
    if (at_ < pattern_.size() && pattern_[at_] == '^') out_ += pattern_[at_++];
    if (at_ < pattern_.size() && pattern_[at_] == ']') out_ += "\\]", ++at_;
  }

  absl::Status class_member(char c) {
    if (c == '[') return open_inner_class();
    if (c == '&' && pattern_.substr(at_, 2) == "&&") {
      return refuse(pattern_, at_, "an intersection of classes");
    }
    ++at_;
    if (c == ']' && inner_ > 0) {
      --inner_;
      if (pattern_.substr(at_, 1) == "-") return refuse(pattern_, at_, "a range from a class");
      return absl::OkStatus();
    }
    if (c == ']') in_class_ = false;
    out_ += c;
    return absl::OkStatus();
  }

  // A class within a class adds its members, so its brackets can go; PCRE2 reads them as members.
  absl::Status open_inner_class() {
    const std::string_view next = pattern_.substr(at_ + 1, 1);
    if (next == "^" || next == ":" || next == "]" || pattern_[at_ - 1] == '-') {
      return refuse(pattern_, at_, "this class within a class");
    }
    ++at_;
    ++inner_;
    return absl::OkStatus();
  }

  absl::Status plain(char c) {
    // "{1,3}+" repeats the repetition in Oniguruma and is possessive in PCRE2; "(?m" means other
    // things as well.
    if (c == '}' && pattern_.substr(at_, 2) == "}+") return refuse(pattern_, at_, "}+");
    if (c == '(' && pattern_.substr(at_, 3) == "(?m") return refuse(pattern_, at_, "(?m");
    out_ += c;
    ++at_;
    return absl::OkStatus();
  }

  std::string_view pattern_;
  size_t at_ = 0;
  bool in_class_ = false;
  int inner_ = 0;  // open classes within the class
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> translate_pattern(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace swage::text
