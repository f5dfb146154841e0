#include <algorithm>

#include "access.h"
#include "arguments.h"
#include "edits.h"
#include "filters.h"
#include "format.h"
#include "json.h"
#include "repr.h"
#include "text.h"

namespace swage::text::jinja {
namespace {

constexpr int64_t kMaxIndent = 1000;

// A margin is given as a text or as a number of spaces.
Value margin_of(Interpreter& interpreter, std::string_view name, const Value& given) {
  if (given.is(Kind::kString)) return given;
  const int64_t count = integer_argument(name, given);
  if (count > kMaxIndent) fail("an indentation of more than ", kMaxIndent);
  return make_text(interpreter.budget(),
                   std::string(static_cast<size_t>(std::max<int64_t>(count, 0)), ' '));
}

// Words begin behind white space and brackets only, unlike in the method of the same name.
std::string title_of_words(std::string_view text) {
  std::string out;
  size_t begin = 0;
  const auto add_word = [&](size_t end) {
    std::string_view word = text.substr(begin, end - begin);
    const size_t first = byte_offset(word, 1);
    out += upper(word.substr(0, first)) + lower(word.substr(first));
  };
  for (size_t at = 0; at < text.size();) {
    const size_t next = at + byte_offset(text.substr(at, 4), 1);
    const std::string_view character = text.substr(at, next - at);
    const bool separates = std::string_view("-({[<").find(character) != std::string_view::npos ||
                           strip(character, std::nullopt, Side::kBoth).empty();
    if (separates) {
      add_word(at);
      out += character;
      begin = next;
    }
    at = next;
  }
  add_word(text.size());
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    static constexpr std::string_view kSpecial = "&<>\"'";
    static constexpr const char* kNames[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    const size_t i = kSpecial.find(c);
    if (i == std::string_view::npos) {
      out += c;
    } else {
      out += kNames[i];
    }
  }
  return out;
}

template <std::string (*kChange)(std::string_view)>
Value changed(Interpreter& interpreter, const Value& input, const Call& call) {
  bind("this filter", call, {});
  const Value text = to_text(interpreter.budget(), input);
  interpreter.budget()->scan(text.text().size());
  return make_text(interpreter.budget(), kChange(text.text()));
}

Value string(Interpreter& interpreter, const Value& input, const Call& call) {
  bind("string", call, {});
  return to_text(interpreter.budget(), input);
}

Value trim(Interpreter& interpreter, const Value& input, const Call& call) {
  const Items arguments = bind("trim", call, {{"chars", Value()}});
  return strip_text(interpreter.budget(), to_text(interpreter.budget(), input), arguments[0],
                    Side::kBoth);
}

Value replace(Interpreter& interpreter, const Value& input, const Call& call) {
  Budget* budget = interpreter.budget();
  const Items arguments = bind("replace", call, {{"old"}, {"new"}, {"count", Value()}});
  const int64_t limit = arguments[2].is(Kind::kNone) ? -1 : integer_argument("count", arguments[2]);
  const Value old_part = to_text(budget, arguments[0]), new_part = to_text(budget, arguments[1]);
  return replace_text(budget, to_text(budget, input), old_part.text(), new_part.text(), limit);
}

Value indent(Interpreter& interpreter, const Value& input, const Call& call) {
  const Items arguments =
      bind("indent", call,
           {{"width", Value(int64_t{4})}, {"first", Value(false)}, {"blank", Value(false)}});
  const Value given = margin_of(interpreter, "width", arguments[0]);
  const std::string& margin = given.text();
  const std::string text = text_argument("the text to indent", input) + "\n";
  interpreter.budget()->take(text.size(), 1 + sizeof(std::string_view));
  Builder out(interpreter.budget());
  if (is_true(arguments[1])) out << margin;
  bool is_first = true;
  for (const std::string_view line : split_lines(text, false)) {
    if (!is_first) {
      out << "\n";
      if (!line.empty() || is_true(arguments[2])) out << margin;
    }
    is_first = false;
    out << line;
  }
  return Value(std::make_shared<const std::string>(out.release()));
}

Value join(Interpreter& interpreter, const Value& input, const Call& call) {
  Budget* budget = interpreter.budget();
  const Items arguments = bind("join", call, {{"d", Value("")}, {"attribute", Value()}});
  const Value separator = to_text(budget, arguments[0]);
  Builder out(budget);
  bool first = true;
  for (const Value& entry : items_of(budget, input)) {
    if (!first) out << separator.text();
    first = false;
    append_str(
        arguments[1].is(Kind::kNone) ? entry : item_at_path(interpreter, entry, arguments[1]),
        &out);
  }
  return Value(std::make_shared<const std::string>(out.release()));
}

Value format_filter(Interpreter& interpreter, const Value& input, const Call& call) {
  Budget* budget = interpreter.budget();
  const Value pattern = to_text(budget, input);
  if (call.named.empty()) {
    return format(budget, pattern.text(), make_tuple(budget, call.positional));
  }
  if (!call.positional.empty()) fail("format takes arguments with names or without, not both");
  auto names = std::make_shared<Dict>();
  for (const auto& [name, value] : call.named) names->set(budget, make_text(budget, name), value);
  return format(budget, pattern.text(), Value(std::move(names)));
}

Value tojson(Interpreter& interpreter, const Value& input, const Call& call) {
  const Items arguments = bind("tojson", call,
                               {{"ensure_ascii", Value(false)},
                                {"indent", Value()},
                                {"separators", Value()},
                                {"sort_keys", Value(false)}});
  JsonStyle style;
  Value margin;
  Items separators;
  style.ascii_only = is_true(arguments[0]);
  style.sorted = is_true(arguments[3]);
  if (!arguments[1].is(Kind::kNone)) {
    style.has_indent = true;
    margin = margin_of(interpreter, "indent", arguments[1]);
    style.indent = margin.text();
    style.item_separator = ",";
  }
  if (!arguments[2].is(Kind::kNone)) {
    separators = items_of(interpreter.budget(), arguments[2]);
    if (separators.size() != 2) fail("separators must be two, not ", separators.size());
    style.item_separator = text_argument("separators", separators[0]);
    style.key_separator = text_argument("separators", separators[1]);
  }
  Builder out(interpreter.budget());
  append_json(input, style, &out);
  return Value(std::make_shared<const std::string>(out.release()));
}

}  // namespace

const Filters& text_filters() {
  static const Filters table = {{"upper", changed<upper>},
                                {"lower", changed<lower>},
                                {"capitalize", changed<capitalize>},
                                {"title", changed<title_of_words>},
                                {"escape", changed<escaped>},
                                {"e", changed<escaped>},
                                {"string", string},
                                {"safe", string},
                                {"trim", trim},
                                {"replace", replace},
                                {"indent", indent},
                                {"join", join},
                                {"format", format_filter},
                                {"tojson", tojson}};
  return table;
}

}  // namespace swage::text::jinja
