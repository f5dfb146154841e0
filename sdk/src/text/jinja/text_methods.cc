#include <algorithm>
#include <optional>

#include "arguments.h"
#include "edits.h"
#include "methods.h"
#include "operators.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

std::optional<std::string_view> optional_text(std::string_view name, const Value& value) {
  if (value.is(Kind::kNone)) return std::nullopt;
  return text_argument(name, value);
}

Value list_of(Interpreter& interpreter, const Parts& parts) {
  Items items;
  for (const std::string_view part : parts) {
    items.push_back(make_text(interpreter.budget(), std::string(part)));
  }
  return make_list(interpreter.budget(), std::move(items));
}

template <std::string (*kChange)(std::string_view)>
Value changed(Interpreter& interpreter, const Value& self, const Call& call) {
  bind("this method", call, {});
  interpreter.budget()->scan(self.text().size());
  return make_text(interpreter.budget(), kChange(self.text()));
}

template <Side kSide>
Value stripped(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind("strip", call, {{"chars", Value()}});
  return strip_text(interpreter.budget(), self, arguments[0], kSide);
}

template <bool kFromRight>
Value split_text(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind("split", call, {{"sep", Value()}, {"maxsplit", Value(int64_t{-1})}});
  const auto separator = optional_text("sep", arguments[0]);
  if (separator && separator->empty()) fail("empty separator");
  const int64_t limit = integer_argument("maxsplit", arguments[1]);
  // The parts in between are not paid for: at most one for every byte.
  interpreter.budget()->take(self.text().size());
  interpreter.budget()->scan(self.text().size());
  return list_of(interpreter, kFromRight ? split_from_right(self.text(), separator, limit)
                                         : split(self.text(), separator, limit));
}

Value split_into_lines(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind("splitlines", call, {{"keepends", Value(false)}});
  interpreter.budget()->scan(self.text().size());
  return list_of(interpreter, split_lines(self.text(), is_true(arguments[0])));
}

template <bool kFromRight>
Value partition(Interpreter& interpreter, const Value& self, const Call& call) {
  const std::string_view text = self.text();
  const Items arguments = bind("partition", call, {{"sep"}});
  const std::string& separator = text_argument("sep", arguments[0]);
  if (separator.empty()) fail("empty separator");
  interpreter.budget()->scan(text.size());
  const Parts parts = kFromRight ? split_from_right(text, separator, 1) : split(text, separator, 1);
  const auto made = [&](std::string_view part) {
    return make_text(interpreter.budget(), std::string(part));
  };
  if (parts.size() == 2) {
    return make_tuple(interpreter.budget(), {made(parts[0]), arguments[0], made(parts[1])});
  }
  return make_tuple(interpreter.budget(),
                    kFromRight ? Items{made(""), made(""), self} : Items{self, made(""), made("")});
}

// startswith() and endswith(): one text or a tuple of them, looked for within [start, end).
template <bool kAtEnd>
Value has_affix(Interpreter& interpreter, const Value& self, const Call& call) {
  const char* name = kAtEnd ? "endswith" : "startswith";
  const Items arguments = bind(name, call, {{"affix"}, {"start", Value()}, {"end", Value()}});
  const Value part = slice_of(interpreter.budget(), self, arguments[1], arguments[2]);
  const std::string_view text = part.text();
  const auto fits = [&](const Value& affix) {
    if (!affix.is(Kind::kString)) {
      fail(name, " first arg must be str or a tuple of str, not ", affix.type_name());
    }
    const size_t size = affix.text().size();
    interpreter.budget()->scan(std::min(size, text.size()));
    if (size > text.size()) return false;
    return (kAtEnd ? text.substr(text.size() - size) : text.substr(0, size)) == affix.text();
  };
  if (!arguments[0].is(Kind::kTuple)) return Value(fits(arguments[0]));
  const Items& affixes = arguments[0].sequence().items;
  interpreter.budget()->step(static_cast<int64_t>(affixes.size()));
  return Value(std::any_of(affixes.begin(), affixes.end(), fits));
}

template <bool kAtEnd>
Value without_affix(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind(kAtEnd ? "removesuffix" : "removeprefix", call, {{"affix"}});
  const std::string& affix = text_argument("affix", arguments[0]);
  const std::string_view text = self.text();
  interpreter.budget()->scan(std::min(affix.size(), text.size()));
  if (affix.size() > text.size()) return self;
  const size_t rest = text.size() - affix.size();
  if ((kAtEnd ? text.substr(rest) : text.substr(0, affix.size())) != affix) return self;
  return make_text(interpreter.budget(), std::string(text.substr(kAtEnd ? 0 : affix.size(), rest)));
}

Value replace(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind("replace", call, {{"old"}, {"new"}, {"count", Value(int64_t{-1})}});
  return replace_text(interpreter.budget(), self, text_argument("old", arguments[0]),
                      text_argument("new", arguments[1]), integer_argument("count", arguments[2]));
}

Value join(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind("join", call, {{"iterable"}});
  Builder out(interpreter.budget());
  bool first = true;
  for (const Value& part : items_of(interpreter.budget(), arguments[0])) {
    if (!first) out << self.text();
    first = false;
    if (!part.is(Kind::kString)) {
      fail("join(): expected items of type str, found ", part.type_name());
    }
    out << part.text();
  }
  return Value(std::make_shared<const std::string>(out.release()));
}

// Where a part begins, in characters; -1 when it is absent.
int64_t character_place(Interpreter& interpreter, std::string_view text, std::string_view part,
                        bool from_right) {
  interpreter.budget()->scan(text.size());
  size_t at = 0;
  if (from_right) {
    const Parts parts = part.empty() ? Parts{text, ""} : split_from_right(text, part, 1);
    at = parts.size() == 2 ? parts[0].size() : std::string_view::npos;
  } else {
    at = find_part(text, part);
  }
  return at == std::string_view::npos ? -1 : count_characters(text.substr(0, at));
}

template <bool kFromRight, bool kMustBeThere>
Value place_of(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind("find", call, {{"sub"}, {"start", Value()}, {"end", Value()}});
  const Value part = slice_of(interpreter.budget(), self, arguments[1], arguments[2]);
  int64_t at =
      character_place(interpreter, part.text(), text_argument("sub", arguments[0]), kFromRight);
  if (at < 0 && kMustBeThere) fail("substring not found");
  if (at >= 0 && !arguments[1].is(Kind::kNone)) {
    const int64_t start = arguments[1].integer(), length = count_characters(self.text());
    at += start < 0 ? std::max<int64_t>(start + length, 0) : std::min(start, length);
  }
  return Value(at);
}

Value count(Interpreter& interpreter, const Value& self, const Call& call) {
  const Items arguments = bind("count", call, {{"sub"}});
  const std::string& part = text_argument("sub", arguments[0]);
  interpreter.budget()->scan(self.text().size());
  if (part.empty()) return Value(count_characters(self.text()) + 1);
  interpreter.budget()->take(self.text().size() / part.size(), sizeof(size_t));
  return Value(static_cast<int64_t>(find_all(self.text(), part, -1).size()));
}

template <bool (*kPredicate)(char32_t)>
Value all_are(Interpreter& interpreter, const Value& self, const Call& call) {
  bind("this method", call, {});
  interpreter.budget()->scan(self.text().size());
  return Value(all_characters(self.text(), kPredicate));
}

template <bool (*kPredicate)(std::string_view)>
Value is_cased(Interpreter& interpreter, const Value& self, const Call& call) {
  bind("this method", call, {});
  interpreter.budget()->scan(self.text().size());
  return Value(kPredicate(self.text()));
}

bool is_letter_or_digit(char32_t c) { return is_letter(c) || is_digit(c); }

}  // namespace

const Methods& text_methods() {
  static const Methods table = {{"upper", changed<upper>},
                                {"lower", changed<lower>},
                                {"title", changed<title>},
                                {"capitalize", changed<capitalize>},
                                {"strip", stripped<Side::kBoth>},
                                {"lstrip", stripped<Side::kLeft>},
                                {"rstrip", stripped<Side::kRight>},
                                {"split", split_text<false>},
                                {"rsplit", split_text<true>},
                                {"splitlines", split_into_lines},
                                {"partition", partition<false>},
                                {"rpartition", partition<true>},
                                {"startswith", has_affix<false>},
                                {"endswith", has_affix<true>},
                                {"removeprefix", without_affix<false>},
                                {"removesuffix", without_affix<true>},
                                {"replace", replace},
                                {"join", join},
                                {"find", place_of<false, false>},
                                {"rfind", place_of<true, false>},
                                {"index", place_of<false, true>},
                                {"rindex", place_of<true, true>},
                                {"count", count},
                                {"isdigit", all_are<is_digit>},
                                {"isalpha", all_are<is_letter>},
                                {"isalnum", all_are<is_letter_or_digit>},
                                {"isspace", all_are<is_space>},
                                {"isupper", is_cased<is_upper>},
                                {"islower", is_cased<is_lower>}};
  return table;
}

}  // namespace swage::text::jinja
