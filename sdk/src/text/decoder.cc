#include "decoder.h"

#include <cstdlib>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "byte_level.h"
#include "component.h"
#include "pattern.h"
#include "pre_tokenizer.h"
#include "unicode.h"

namespace swage::text {
namespace {

using Tokens = std::vector<std::string>;
using Factory = absl::StatusOr<Decoder> (*)(const Value&);

absl::StatusOr<Decoder> byte_level(const Value&) {
  return Decoder([](Tokens* tokens) {
    std::string bytes;
    for (const std::string& token : *tokens) append_bytes(token, &bytes);
    *tokens = {replace_bad_utf8(bytes)};
  });
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::vector<Match> matches;
  find_literal(text, from, &matches);
  std::string out;
  for (const Match& match : matches)
    out += match.found ? to : text.substr(match.begin, match.end - match.begin);
  return out;
}

absl::StatusOr<Decoder> metaspace(const Value& node) {
  SWAGE_ASSIGN_OR_RETURN(const std::string scheme, prepend_scheme(node));
  return Decoder([mark = node.str("replacement", "▁"), marked = scheme != "never"](Tokens* tokens) {
    for (size_t i = 0; i < tokens->size(); ++i) {
      (*tokens)[i] = replace_all((*tokens)[i], mark, i == 0 && marked ? "" : " ");
    }
  });
}

absl::StatusOr<Decoder> replace(const Value& node) {
  SWAGE_ASSIGN_OR_RETURN(const Finder find, make_finder(node["pattern"]));
  return Decoder([find, content = node.str("content", "")](Tokens* tokens) {
    std::vector<Match> matches;
    for (std::string& token : *tokens) {
      if (!find(token, &matches).ok())
        continue;  // a pattern that gave up leaves the token as it is
      std::string out;
      for (const Match& match : matches) {
        out += match.found ? content : token.substr(match.begin, match.end - match.begin);
      }
      token = std::move(out);
    }
  });
}

// -1 unless the token is "<0xNN>".
int byte_of(const std::string& token) {
  if (token.size() != 6 || token.compare(0, 3, "<0x") != 0 || token[5] != '>') return -1;
  char* end = nullptr;
  const std::string digits = token.substr(3, 2);
  const long value = std::strtol(digits.c_str(), &end, 16);
  return end == digits.c_str() + 2 ? static_cast<int>(value) : -1;
}

absl::StatusOr<Decoder> byte_fallback(const Value&) {
  return Decoder([](Tokens* tokens) {
    Tokens out;
    std::string run;
    const auto flush = [&] {
      if (find_bad_utf8(run) == kValidUtf8) {
        if (!run.empty()) out.push_back(run);
      } else {
        out.insert(out.end(), run.size(), "\xEF\xBF\xBD");
      }
      run.clear();
    };
    for (std::string& token : *tokens) {
      const int byte = byte_of(token);
      if (byte >= 0) {
        run.push_back(static_cast<char>(byte));
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    *tokens = std::move(out);
  });
}

absl::StatusOr<Decoder> fuse(const Value&) {
  return Decoder([](Tokens* tokens) { *tokens = {absl::StrJoin(*tokens, "")}; });
}

absl::StatusOr<Decoder> strip(const Value& node) {
  const int64_t start = node.i64("start", 0), stop = node.i64("stop", 0);
  return Decoder([content = required_text(node, "content"), start, stop](Tokens* tokens) {
    for (std::string& token : *tokens) {
      std::string_view left = token;
      for (int64_t i = 0; i < start && left.substr(0, content.size()) == content; ++i)
        left.remove_prefix(content.size());
      for (int64_t i = 0; i < stop && left.size() >= content.size() &&
                          left.substr(left.size() - content.size()) == content;
           ++i) {
        left.remove_suffix(content.size());
      }
      token = std::string(left);
    }
  });
}

// End-of-word suffixes become spaces, but for the last token.
absl::StatusOr<Decoder> bpe(const Value& node) {
  return Decoder([suffix = node.str("suffix", "</w>")](Tokens* tokens) {
    for (size_t i = 0; i < tokens->size(); ++i) {
      (*tokens)[i] = replace_all((*tokens)[i], suffix, i + 1 == tokens->size() ? "" : " ");
    }
  });
}

absl::StatusOr<Decoder> sequence(const Value& node) {
  std::vector<Decoder> steps;
  for (const Value& item : required_list(node, "decoders")) {
    SWAGE_ASSIGN_OR_RETURN(Decoder step, make_decoder(item));
    steps.push_back(std::move(step));
  }
  return Decoder([steps](Tokens* tokens) {
    for (const Decoder& step : steps) step(tokens);
  });
}

const std::map<std::string, Factory, std::less<>>& factories() {
  static const std::map<std::string, Factory, std::less<>> table = {{"ByteLevel", byte_level},
                                                                    {"Metaspace", metaspace},
                                                                    {"Replace", replace},
                                                                    {"ByteFallback", byte_fallback},
                                                                    {"Fuse", fuse},
                                                                    {"Strip", strip},
                                                                    {"BPEDecoder", bpe},
                                                                    {"Sequence", sequence}};
  return table;
}

}  // namespace

absl::StatusOr<Decoder> make_decoder(const Value& node) {
  if (node.is_null()) {
    return Decoder([](Tokens* tokens) { *tokens = {absl::StrJoin(*tokens, " ")}; });
  }
  return named("decoder", [&]() -> absl::StatusOr<Decoder> {
    const std::string& type = required_text(node, "type");
    const auto it = factories().find(type);
    if (it == factories().end()) {
      return absl::UnimplementedError(absl::StrCat("\"", type, "\" is not supported"));
    }
    return named(type, [&] { return it->second(node); });
  });
}

}  // namespace swage::text
