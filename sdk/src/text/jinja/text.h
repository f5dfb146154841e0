#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Python's functions on str, for UTF-8 that has been validated. Numbers of characters, not bytes.
namespace swage::text::jinja {

// Iterates over characters, each as its bytes.
class Characters {
 public:
  explicit Characters(std::string_view text) : text_(text) {}

  class Iterator {
   public:
    Iterator(std::string_view text, size_t at) : text_(text), at_(at) {}
    std::string_view operator*() const { return text_.substr(at_, size()); }
    Iterator& operator++() {
      at_ += size();
      return *this;
    }
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }

   private:
    size_t size() const;

    std::string_view text_;
    size_t at_;
  };
  Iterator begin() const { return {text_, 0}; }
  Iterator end() const { return {text_, text_.size()}; }

 private:
  std::string_view text_;
};

int64_t count_characters(std::string_view text);
// Offset of the byte where character `index` (0 … count) begins.
size_t byte_offset(std::string_view text, int64_t index);

bool is_space(char32_t c);      // what strip() takes away
bool is_printable(char32_t c);  // what repr() does not escape

enum class Side { kLeft, kRight, kBoth };
// `characters` is the set to take away; without it, white space.
std::string_view strip(std::string_view text, std::optional<std::string_view> characters,
                       Side side);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);  // the method; the filter of this name is another

using Parts = std::vector<std::string_view>;
// `limit` < 0 = no limit. Without separator: at runs of white space, which also vanish at the ends.
Parts split(std::string_view text, std::optional<std::string_view> separator, int64_t limit);
Parts split_from_right(std::string_view text, std::optional<std::string_view> separator,
                       int64_t limit);
Parts split_lines(std::string_view text, bool keep_ends);

// Takes linear time for every text. npos when absent.
size_t find_part(std::string_view text, std::string_view part, size_t from = 0);
// Places where `part`, which is not empty, is found without overlap; at most `limit` unless < 0.
std::vector<size_t> find_all(std::string_view text, std::string_view part, int64_t limit);

// False for an empty text, as isdigit() and its like.
bool all_characters(std::string_view text, bool (*predicate)(char32_t));
bool is_letter(char32_t c);
bool is_digit(char32_t c);
bool is_upper(std::string_view text);
bool is_lower(std::string_view text);

}  // namespace swage::text::jinja
