#include "edits.h"

#include <algorithm>

#include "access.h"
#include "arguments.h"

namespace swage::text::jinja {

Value strip_text(Budget* budget, const Value& text, const Value& characters, Side side) {
  std::optional<std::string_view> set;
  if (!characters.is(Kind::kNone)) set = text_argument("chars", characters);
  // Every character may be looked for in the whole set.
  for (size_t i = 0; set && i <= set->size() / 256; ++i) budget->scan(text.text().size());
  budget->scan(text.text().size());
  const std::string_view stripped = strip(text.text(), set, side);
  if (stripped.size() == text.text().size()) return text;
  return make_text(budget, std::string(stripped));
}

Value replace_text(Budget* budget, const Value& text, const std::string& old_part,
                   const std::string& new_part, int64_t limit) {
  const std::string& whole = text.text();
  budget->scan(whole.size());
  Builder out(budget);
  size_t done = 0;
  int64_t count = 0;
  if (old_part.empty()) {  // in front of every character and at the end
    for (const std::string_view character : Characters(whole)) {
      if (limit < 0 || count++ < limit) out << new_part;
      out << character;
    }
    if (limit < 0 || count < limit) out << new_part;
    return Value(std::make_shared<const std::string>(out.release()));
  }
  for (size_t at = find_part(whole, old_part); at != std::string_view::npos;
       at = find_part(whole, old_part, done)) {
    if (limit >= 0 && count++ >= limit) break;
    budget->step();
    out << std::string_view(whole).substr(done, at - done) << new_part;
    done = at + old_part.size();
  }
  if (done == 0) return text;
  out << std::string_view(whole).substr(done);
  return Value(std::make_shared<const std::string>(out.release()));
}

Value slice_of(Budget* budget, const Value& text, const Value& start, const Value& stop) {
  if (start.is(Kind::kNone) && stop.is(Kind::kNone)) return text;
  return slice(budget, text, start, stop, Value());
}

}  // namespace swage::text::jinja
