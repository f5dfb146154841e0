#include "text.h"

#include <string.h>
#include <utf8proc.h>

#include <algorithm>

#include "../unicode.h"

namespace swage::text::jinja {
namespace {

// Characters whose upper case is more than one; what they become, and how it begins a title.
struct Expansion {
  char32_t c;
  const char *upper, *title;
};
constexpr Expansion kExpansions[] = {{0xDF, "SS", "Ss"},
                                     {0x149, "\u02BCN", "\u02BCN"},
                                     {0x1F0, "J\u030C", "J\u030C"},
                                     {0xFB00, "FF", "Ff"},
                                     {0xFB01, "FI", "Fi"},
                                     {0xFB02, "FL", "Fl"},
                                     {0xFB03, "FFI", "Ffi"},
                                     {0xFB04, "FFL", "Ffl"},
                                     {0xFB05, "ST", "St"},
                                     {0xFB06, "ST", "St"},
                                     {0x587, "\u0535\u0552", "\u0535\u0582"}};

const Expansion* expansion(char32_t c) {
  if (c < 0xDF) return nullptr;
  for (const Expansion& entry : kExpansions) {
    if (entry.c == c) return &entry;
  }
  return nullptr;
}

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_cased(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL ||
         kind == UTF8PROC_CATEGORY_LT;
}

void append_upper(char32_t c, std::string* out) {
  if (const Expansion* entry = expansion(c)) {
    out->append(entry->upper);
  } else {
    append_char(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))), out);
  }
}

void append_title(char32_t c, std::string* out) {
  if (const Expansion* entry = expansion(c)) {
    out->append(entry->title);
  } else {
    append_char(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))), out);
  }
}

// A capital sigma at the end of a word has a lower case of its own.
bool ends_word(std::string_view text, size_t begin, size_t end) {
  if (begin == 0) return false;
  size_t before = 0, after = end;
  return is_cased(previous_char(text, begin, &before)) &&
         !(end < text.size() && is_cased(next_char(text, &after)));
}

void append_lower(std::string_view text, size_t begin, size_t end, std::string* out) {
  size_t at = begin;
  if (next_char(text, &at) == 0x3A3 && ends_word(text, begin, end)) {
    append_char(0x3C2, out);
  } else {
    out->append(to_lower(text.substr(begin, end - begin)));
  }
}

bool is_line_end(char32_t c) {
  return (c >= '\n' && c <= '\r') || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

Parts split_at_space(std::string_view text, int64_t limit) {
  Parts parts;
  text = strip(text, std::nullopt, Side::kLeft);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(text);
      break;
    }
    size_t end = 0;
    for (size_t at = 0; at < text.size() && !is_space(next_char(text, &at));) end = at;
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), std::nullopt, Side::kLeft);
  }
  return parts;
}

Parts split_at_space_from_right(std::string_view text, int64_t limit) {
  Parts parts;
  text = strip(text, std::nullopt, Side::kRight);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(text);
      break;
    }
    size_t begin = text.size();
    for (size_t at = begin; at > 0 && !is_space(previous_char(text, at, &at));) begin = at;
    parts.push_back(text.substr(begin));
    text = strip(text.substr(0, begin), std::nullopt, Side::kRight);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

size_t Characters::Iterator::size() const {
  size_t end = at_;
  next_char(text_, &end);
  return end - at_;
}

int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

size_t byte_offset(std::string_view text, int64_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) next_char(text, &at);
  return at;
}

bool is_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= ' ';
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string_view strip(std::string_view text, std::optional<std::string_view> characters,
                       Side side) {
  const auto goes = [&](std::string_view character) {
    size_t at = 0;
    if (!characters) return is_space(next_char(character, &at));
    return characters->find(character) != std::string_view::npos;
  };
  size_t begin = 0, end = text.size();
  while (side != Side::kRight && begin < end) {
    size_t next = begin;
    next_char(text, &next);
    if (!goes(text.substr(begin, next - begin))) break;
    begin = next;
  }
  while (side != Side::kLeft && end > begin) {
    size_t previous = end;
    previous_char(text, end, &previous);
    if (!goes(text.substr(previous, end - previous))) break;
    end = previous;
  }
  return text.substr(begin, end - begin);
}

std::string upper(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) append_upper(next_char(text, &at), &out);
  return out;
}

std::string lower(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    next_char(text, &at);
    append_lower(text, begin, at, &out);
  }
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_char(text, &at);
    if (begin == 0) {
      append_title(c, &out);
    } else {
      append_lower(text, begin, at, &out);
    }
  }
  return out;
}

std::string title(std::string_view text) {
  std::string out;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_char(text, &at);
    if (in_word) {
      append_lower(text, begin, at, &out);
    } else {
      append_title(c, &out);
    }
    in_word = is_cased(c);
  }
  return out;
}

Parts split(std::string_view text, std::optional<std::string_view> separator, int64_t limit) {
  if (!separator) return split_at_space(text, limit);
  Parts parts;
  size_t begin = 0;
  for (const size_t at : find_all(text, *separator, limit)) {
    parts.push_back(text.substr(begin, at - begin));
    begin = at + separator->size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

Parts split_from_right(std::string_view text, std::optional<std::string_view> separator,
                       int64_t limit) {
  if (!separator) return split_at_space_from_right(text, limit);
  Parts parts;
  // Seen from the right, overlapping places are chosen differently.
  std::string mirrored(text.rbegin(), text.rend());
  const std::string mirrored_separator(separator->rbegin(), separator->rend());
  size_t end = text.size();
  for (const size_t at : find_all(mirrored, mirrored_separator, limit)) {
    const size_t begin = text.size() - at;
    parts.push_back(text.substr(begin, end - begin));
    end = begin - separator->size();
  }
  parts.push_back(text.substr(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Parts split_lines(std::string_view text, bool keep_ends) {
  Parts lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    const char32_t c = next_char(text, &at);
    if (!is_line_end(c)) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

size_t find_part(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  const void* place = ::memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (place == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(place) - text.data());
}

std::vector<size_t> find_all(std::string_view text, std::string_view part, int64_t limit) {
  std::vector<size_t> places;
  size_t at = 0;
  while (limit < 0 || static_cast<int64_t>(places.size()) < limit) {
    at = find_part(text, part, at);
    if (at == std::string_view::npos) break;
    places.push_back(at);
    at += part.size();
  }
  return places;
}

bool all_characters(std::string_view text, bool (*predicate)(char32_t)) {
  for (size_t at = 0; at < text.size();) {
    if (!predicate(next_char(text, &at))) return false;
  }
  return !text.empty();
}

bool is_letter(char32_t c) {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_digit(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_upper(std::string_view text) {
  bool cased = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_char(text, &at);
    if (!is_cased(c)) continue;
    if (category(c) != UTF8PROC_CATEGORY_LU) return false;
    cased = true;
  }
  return cased;
}

bool is_lower(std::string_view text) {
  bool cased = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_char(text, &at);
    if (!is_cased(c)) continue;
    if (category(c) != UTF8PROC_CATEGORY_LL) return false;
    cased = true;
  }
  return cased;
}

}  // namespace swage::text::jinja
