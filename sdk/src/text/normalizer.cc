#include "normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "byte_level.h"
#include "component.h"
#include "pattern.h"
#include "unicode.h"
#include "young_marks.h"

namespace swage::text {
namespace {

using Factory = absl::StatusOr<Normalizer> (*)(const Value&);

bool is_ascii(const std::string& text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

absl::Status append_form(std::string_view text, int options, std::string* out) {
  utf8proc_uint8_t* form = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                 static_cast<utf8proc_ssize_t>(text.size()), &form,
                                 static_cast<utf8proc_option_t>(options));
  if (size < 0) return absl::InternalError(utf8proc_errmsg(size));
  out->append(reinterpret_cast<const char*>(form), static_cast<size_t>(size));
  std::free(form);
  return absl::OkStatus();
}

template <int kOptions>
absl::StatusOr<Normalizer> unicode_form(const Value&) {
  return Normalizer([](std::string* text) -> absl::Status {
    if (is_ascii(*text)) return absl::OkStatus();
    std::string out;
    size_t done = 0;
    for (size_t at = 0; at < text->size();) {
      const size_t begin = at;
      if (!is_young_mark(next_char(*text, &at))) continue;
      SWAGE_RETURN_IF_ERROR(
          append_form(std::string_view(*text).substr(done, begin - done), kOptions, &out));
      out.append(*text, begin, at - begin);
      done = at;
    }
    SWAGE_RETURN_IF_ERROR(append_form(std::string_view(*text).substr(done), kOptions, &out));
    *text = std::move(out);
    return absl::OkStatus();
  });
}

absl::StatusOr<Normalizer> lowercase(const Value&) {
  return Normalizer([](std::string* text) {
    *text = to_lower(*text);
    return absl::OkStatus();
  });
}

absl::StatusOr<Normalizer> strip(const Value& node) {
  const bool left = node.flag("strip_left", true), right = node.flag("strip_right", true);
  return Normalizer([left, right](std::string* text) {
    size_t begin = 0, end = text->size();
    for (size_t at = 0; left && at < end && is_white_space(next_char(*text, &at));) begin = at;
    for (size_t at = end; right && end > begin && is_white_space(previous_char(*text, end, &at));)
      end = at;
    *text = text->substr(begin, end - begin);
    return absl::OkStatus();
  });
}

absl::StatusOr<Normalizer> strip_accents(const Value&) {
  return Normalizer([](std::string* text) {
    std::string kept;
    for (size_t at = 0; at < text->size();) {
      const char32_t c = next_char(*text, &at);
      const bool was_mark = c == 0x1CF2 || c == 0x1CF3;  // letters since Unicode 12
      if ((!is_mark(c) || is_young_mark(c)) && !was_mark) append_char(c, &kept);
    }
    *text = std::move(kept);
    return absl::OkStatus();
  });
}

// A short text must not grow without end: one replacement after another may double it each time.
absl::Status check_growth(size_t before, size_t after) {
  constexpr size_t kMostTimes = 8, kAlways = size_t{1} << 20;
  if (after <= kAlways || after / kMostTimes <= before) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("Replace makes ", after, " bytes and more out of ", before,
                   " bytes of text; is this tokenizer.json what its model came with?"));
}

size_t size_of(const std::vector<Match>& matches, size_t content) {
  size_t size = 0;
  for (const Match& match : matches) size += match.found ? content : match.end - match.begin;
  return size;
}

absl::StatusOr<Normalizer> replace(const Value& node) {
  SWAGE_ASSIGN_OR_RETURN(const Finder find, make_finder(node["pattern"]));
  return Normalizer([find, content = node.str("content", "")](std::string* text) -> absl::Status {
    std::vector<Match> matches;
    SWAGE_RETURN_IF_ERROR(find(*text, &matches));
    const size_t size = size_of(matches, content.size());
    SWAGE_RETURN_IF_ERROR(check_growth(text->size(), size));
    std::string out;
    out.reserve(size);
    for (const Match& match : matches) {
      if (match.found) {
        out += content;
      } else {
        out.append(*text, match.begin, match.end - match.begin);
      }
    }
    *text = std::move(out);
    return absl::OkStatus();
  });
}

absl::StatusOr<Normalizer> prepend(const Value& node) {
  return Normalizer([prefix = required_text(node, "prepend")](std::string* text) {
    if (!text->empty()) text->insert(0, prefix);
    return absl::OkStatus();
  });
}

absl::StatusOr<Normalizer> byte_level(const Value&) {
  return Normalizer([](std::string* text) {
    std::string out;
    append_byte_level(*text, &out);
    *text = std::move(out);
    return absl::OkStatus();
  });
}

absl::StatusOr<Normalizer> sequence(const Value& node) {
  std::vector<Normalizer> steps;
  for (const Value& item : required_list(node, "normalizers")) {
    SWAGE_ASSIGN_OR_RETURN(Normalizer step, make_normalizer(item));
    steps.push_back(std::move(step));
  }
  return Normalizer([steps](std::string* text) -> absl::Status {
    const size_t before = text->size();
    for (const Normalizer& step : steps) {
      SWAGE_RETURN_IF_ERROR(step(text));
      SWAGE_RETURN_IF_ERROR(check_growth(before, text->size()));
    }
    return absl::OkStatus();
  });
}

const std::map<std::string, Factory, std::less<>>& factories() {
  static const std::map<std::string, Factory, std::less<>> table = {
      {"NFC", unicode_form<UTF8PROC_STABLE | UTF8PROC_COMPOSE>},
      {"NFD", unicode_form<UTF8PROC_STABLE | UTF8PROC_DECOMPOSE>},
      {"NFKC", unicode_form<UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT>},
      {"NFKD", unicode_form<UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT>},
      {"Lowercase", lowercase},
      {"Strip", strip},
      {"StripAccents", strip_accents},
      {"Replace", replace},
      {"Prepend", prepend},
      {"ByteLevel", byte_level},
      {"Sequence", sequence}};
  return table;
}

}  // namespace

absl::StatusOr<Normalizer> make_normalizer(const Value& node) {
  if (node.is_null()) return Normalizer([](std::string*) { return absl::OkStatus(); });
  return named("normalizer", [&]() -> absl::StatusOr<Normalizer> {
    const std::string& type = required_text(node, "type");
    const auto it = factories().find(type);
    if (it == factories().end()) {
      return absl::UnimplementedError(absl::StrCat("\"", type, "\" is not supported"));
    }
    return named(type, [&] { return it->second(node); });
  });
}

}  // namespace swage::text
