#pragma once
#include "text.h"
#include "value.h"

// What methods and filters on texts share.
namespace swage::text::jinja {

// `characters` is None or the set to take away.
Value strip_text(Budget* budget, const Value& text, const Value& characters, Side side);
// `limit` < 0 = everywhere.
Value replace_text(Budget* budget, const Value& text, const std::string& old_part,
                   const std::string& new_part, int64_t limit);
// text[start:stop]
Value slice_of(Budget* budget, const Value& text, const Value& start, const Value& stop);

}  // namespace swage::text::jinja
