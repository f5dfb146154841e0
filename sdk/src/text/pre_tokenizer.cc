#include "pre_tokenizer.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "byte_level.h"
#include "component.h"
#include "unicode.h"

namespace swage::text {
namespace {

using Factory = absl::StatusOr<PreTokenizer> (*)(const Value&);

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

PreTokenizer splitter(Finder find, Behavior behavior, bool invert = false) {
  return [find = std::move(find), behavior, invert](Pieces* pieces) {
    return split(find, behavior, invert, pieces);
  };
}

// Gives every piece a new text made by `rewrite(piece, at_start, &out)`.
template <class Rewrite>
void rewrite_pieces(Pieces* pieces, Rewrite rewrite) {
  std::string text;
  text.reserve(pieces->text.size() + pieces->text.size() / 4);
  for (Pieces::Range& range : pieces->ranges) {
    const size_t begin = text.size();
    rewrite(pieces->piece(range), range.at_start, &text);
    range = {begin, text.size(), range.at_start};
  }
  pieces->text = std::move(text);
}

absl::StatusOr<PreTokenizer> byte_level(const Value& node) {
  SWAGE_ASSIGN_OR_RETURN(const Regex regex, Regex::compile(kGpt2Pattern));
  const bool add_space = node.flag("add_prefix_space", true),
             use_regex = node.flag("use_regex", true);
  const Finder find = [regex](std::string_view text, std::vector<Match>* matches) {
    return regex.find_all(text, matches);
  };
  return PreTokenizer([=](Pieces* pieces) -> absl::Status {
    if (add_space) {
      rewrite_pieces(pieces, [](std::string_view piece, bool, std::string* out) {
        if (piece.front() != ' ') out->push_back(' ');
        out->append(piece);
      });
    }
    if (use_regex) SWAGE_RETURN_IF_ERROR(split(find, Behavior::kIsolated, false, pieces));
    rewrite_pieces(pieces, [](std::string_view piece, bool, std::string* out) {
      append_byte_level(piece, out);
    });
    return absl::OkStatus();
  });
}

absl::StatusOr<PreTokenizer> digits(const Value& node) {
  return splitter(find_chars(is_numeric), node.flag("individual_digits", false)
                                              ? Behavior::kIsolated
                                              : Behavior::kContiguous);
}

absl::StatusOr<PreTokenizer> split_by_pattern(const Value& node) {
  SWAGE_ASSIGN_OR_RETURN(Finder find, make_finder(node["pattern"]));
  SWAGE_ASSIGN_OR_RETURN(const Behavior behavior, behavior_named(node.str("behavior", "")));
  return splitter(std::move(find), behavior, node.flag("invert", false));
}

absl::StatusOr<PreTokenizer> metaspace(const Value& node) {
  const std::string mark = node.str("replacement", "▁");
  SWAGE_ASSIGN_OR_RETURN(const std::string scheme, prepend_scheme(node));
  const bool cut = node.flag("split", true);
  SWAGE_ASSIGN_OR_RETURN(const Finder find, make_finder(mark));
  return PreTokenizer([=](Pieces* pieces) {
    rewrite_pieces(pieces, [&](std::string_view piece, bool at_start, std::string* out) {
      const bool marked = piece.front() == ' ' || piece.substr(0, mark.size()) == mark;
      if (!marked && (scheme == "always" || (scheme == "first" && at_start))) *out += mark;
      for (const char c : piece) c == ' ' ? out->append(mark) : out->append(1, c);
    });
    return cut ? split(find, Behavior::kMergedWithNext, false, pieces) : absl::OkStatus();
  });
}

absl::StatusOr<PreTokenizer> punctuation(const Value& node) {
  SWAGE_ASSIGN_OR_RETURN(const Behavior behavior, behavior_named(node.str("behavior", "Isolated")));
  return splitter(find_chars(is_punctuation), behavior);
}

absl::StatusOr<PreTokenizer> whitespace_split(const Value&) {
  return splitter(find_chars(is_white_space), Behavior::kRemoved);
}

// Runs of word characters and runs of what is neither word nor space.
absl::StatusOr<PreTokenizer> whitespace(const Value&) {
  return PreTokenizer([](Pieces* pieces) -> absl::Status {
    SWAGE_RETURN_IF_ERROR(split(find_chars(is_white_space), Behavior::kRemoved, false, pieces));
    return split(find_chars(is_word), Behavior::kContiguous, false, pieces);
  });
}

absl::StatusOr<PreTokenizer> bert(const Value&) {
  return PreTokenizer([](Pieces* pieces) -> absl::Status {
    SWAGE_RETURN_IF_ERROR(split(find_chars(is_white_space), Behavior::kRemoved, false, pieces));
    return split(find_chars(is_punctuation), Behavior::kIsolated, false, pieces);
  });
}

absl::StatusOr<PreTokenizer> sequence(const Value& node) {
  std::vector<PreTokenizer> steps;
  for (const Value& item : required_list(node, "pretokenizers")) {
    SWAGE_ASSIGN_OR_RETURN(PreTokenizer step, make_pre_tokenizer(item));
    steps.push_back(std::move(step));
  }
  return PreTokenizer([steps](Pieces* pieces) -> absl::Status {
    for (const PreTokenizer& step : steps) SWAGE_RETURN_IF_ERROR(step(pieces));
    return absl::OkStatus();
  });
}

const std::map<std::string, Factory, std::less<>>& factories() {
  static const std::map<std::string, Factory, std::less<>> table = {
      {"ByteLevel", byte_level},
      {"Digits", digits},
      {"Split", split_by_pattern},
      {"Metaspace", metaspace},
      {"Punctuation", punctuation},
      {"Whitespace", whitespace},
      {"WhitespaceSplit", whitespace_split},
      {"BertPreTokenizer", bert},
      {"Sequence", sequence}};
  return table;
}

}  // namespace

absl::StatusOr<std::string> prepend_scheme(const Value& metaspace) {
  const bool old = metaspace.flag("add_prefix_space", true);
  std::string scheme = metaspace.str("prepend_scheme", old ? "always" : "never");
  if (scheme == "always" || scheme == "first" || scheme == "never") return scheme;
  return absl::InvalidArgumentError(
      absl::StrCat("\"prepend_scheme\" is \"", scheme, "\", expected always, first or never"));
}

absl::StatusOr<PreTokenizer> make_pre_tokenizer(const Value& node) {
  if (node.is_null()) return PreTokenizer([](Pieces*) { return absl::OkStatus(); });
  return named("pre_tokenizer", [&]() -> absl::StatusOr<PreTokenizer> {
    const std::string& type = required_text(node, "type");
    const auto it = factories().find(type);
    if (it == factories().end()) {
      return absl::UnimplementedError(absl::StrCat("\"", type, "\" is not supported"));
    }
    return named(type, [&] { return it->second(node); });
  });
}

}  // namespace swage::text
