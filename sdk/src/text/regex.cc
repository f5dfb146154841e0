#include "regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage::text {
namespace {

constexpr size_t kMaxPattern = 1 << 16;

std::string pcre_message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

// What one thread matches with: the engine's own stack for compiled patterns ends at 32 KB
// otherwise.
struct Scratch {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 << 10, 8 << 20, nullptr);
  Scratch() { pcre2_jit_stack_assign(context, nullptr, stack); }
  ~Scratch() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

// In a message.
std::string shown(std::string_view pattern) {
  constexpr size_t kMost = 120;
  if (pattern.size() <= kMost) return std::string(pattern);
  size_t end = kMost;
  while (end > 0 && (pattern[end] & 0xC0) == 0x80) --end;  // no character is cut
  return absl::StrCat(std::string(pattern.substr(0, end)), "… (", pattern.size(), " bytes)");
}

size_t char_bytes(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  std::string pattern;
  ~Code() { pcre2_code_free(code); }
};

absl::StatusOr<Regex> Regex::compile(std::string_view pattern) {
  if (pattern.size() > kMaxPattern) {
    return absl::InvalidArgumentError(absl::StrCat("a regular expression of ", pattern.size(),
                                                   " bytes, at most ", kMaxPattern, " are read"));
  }
  SWAGE_ASSIGN_OR_RETURN(const std::string translated, translate_pattern(pattern));
  auto code = std::make_shared<Code>();
  code->pattern = pattern;
  int error = 0;
  PCRE2_SIZE where = 0;
  // Oniguruma's ^ and $ always stand at lines.
  code->code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C,
      &error, &where, nullptr);
  if (code->code == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the regular expression ", shown(pattern), ": ", pcre_message(error)));
  }
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);  // without it the interpreter runs
  Regex regex;
  regex.code_ = std::move(code);
  return regex;
}

absl::Status Regex::find_all(std::string_view text, std::vector<Match>* matches) const {
  thread_local const Scratch scratch;
  matches->clear();
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t from = 0, last_end = static_cast<size_t>(-1), covered = 0;
  while (from <= text.size()) {
    int found = pcre2_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK,
                            scratch.data, scratch.context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = pcre2_match(code_->code, subject, text.size(), from,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.data, scratch.context);
    }
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the tokenizer's regular expression ", shown(code_->pattern),
                       " takes too many steps on this text from its byte ", from, " on (",
                       pcre_message(found), "); is this tokenizer.json what the model came with?"));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(scratch.data);
    const size_t begin = range[0], end = range[1];
    if (begin == end) {
      // An empty find right behind another one does not count; either way the search goes on one
      // character further.
      from = end + (end < text.size() ? char_bytes(text[end]) : 1);
      if (end == last_end) continue;
    } else {
      from = end;
    }
    push_match(covered, begin, false, matches);
    matches->push_back({begin, end, true});
    covered = last_end = end;
  }
  push_match(covered, text.size(), false, matches);
  return absl::OkStatus();
}

void push_match(size_t begin, size_t end, bool found, std::vector<Match>* matches) {
  if (begin < end) matches->push_back({begin, end, found});
}

void find_literal(std::string_view text, std::string_view literal, std::vector<Match>* matches) {
  matches->clear();
  size_t covered = 0;
  for (size_t at = 0; !literal.empty(); covered = at += literal.size()) {
    at = text.find(literal, at);
    if (at == std::string_view::npos) break;
    push_match(covered, at, false, matches);
    push_match(at, at + literal.size(), true, matches);
  }
  push_match(covered, text.size(), false, matches);
}

}  // namespace swage::text
