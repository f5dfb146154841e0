#include "core/config/mix.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/glob.h"
#include "core/base/suggest.h"
#include "core/config/toml_reader.h"

namespace swage {
namespace {

// As llama.cpp's quantizer chooses layers that matter more.
bool is_outer(int64_t layer, int64_t layers) {
  const int64_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

// The first mistake wins.
class MixReader {
 public:
  explicit MixReader(const Document& document) : document_(document) {}

  absl::StatusOr<Mix> read() {
    Mix mix;
    const Value& root = document_.root;
    check_keys(root, "", {"summary", "format", "head", "embedding", "fallback", "rule"});
    mix.summary = text(root, "", "summary");
    mix.format = text(root, "", "format");
    if (root.has("head")) mix.head = text(root, "", "head");
    if (root.has("embedding")) mix.embedding = text(root, "", "embedding");
    if (const Value::Table* const table = root["fallback"].table()) {
      for (const auto& [format, other] : *table)
        mix.fallback[format] = text(root["fallback"], "fallback", format);
    }
    if (const Value::List* const rules = root["rule"].list()) {
      for (size_t i = 0; i < rules->size(); ++i)
        mix.rules.push_back(rule((*rules)[i], absl::StrCat("rule[", i, "]")));
    }
    check_fallback(mix);
    if (!status_.ok()) return status_;
    return mix;
  }

 private:
  MixRule rule(const Value& table, const std::string& path) {
    MixRule rule;
    check_keys(table, path,
               {"match", "format", "first", "first_part", "layers", "heads_per_kv", "experts"});
    rule.format = text(table, path, "format");
    const Value::List* const globs = table["match"].list();
    if (globs == nullptr || globs->empty()) fail(path, "\"match\" is a list of globs");
    for (const Value& glob : globs != nullptr ? *globs : Value::List{}) {
      const absl::Status status = glob.text() != nullptr
                                      ? check_glob(*glob.text())
                                      : absl::InvalidArgumentError("\"match\" is a list of globs");
      if (!status.ok()) fail(join_path(path, "match"), std::string(status.message()));
      if (glob.text() != nullptr) rule.match.push_back(*glob.text());
    }
    for (const auto& [key, value] :
         {std::pair("first", &rule.first), std::pair("first_part", &rule.first_part),
          std::pair("heads_per_kv", &rule.heads_per_kv), std::pair("experts", &rule.experts)}) {
      if (!table.has(key)) continue;
      const int64_t* const number = table[key].integer();
      if (number == nullptr || *number < 1)
        fail(join_path(path, key), absl::StrCat("\"", key, "\" is an integer of at least 1"));
      else
        *value = *number;
    }
    if (table.has("layers")) {
      rule.outer = text(table, path, "layers") == "outer";
      if (!rule.outer) fail(join_path(path, "layers"), "\"layers\" can only be \"outer\"");
    }
    return rule;
  }

  void check_fallback(const Mix& mix) {
    for (const auto& [format, other] : mix.fallback) {
      std::string at = other;
      for (size_t steps = 0; mix.fallback.count(at) > 0; at = mix.fallback.at(at)) {
        if (++steps > mix.fallback.size())
          return fail(join_path("fallback", format), "the fallbacks lead in a circle");
      }
    }
  }

  void check_keys(const Value& table, const std::string& path,
                  const std::vector<std::string>& known) {
    if (table.table() == nullptr) return fail(path, "expected a table");
    for (const auto& [key, value] : *table.table()) {
      if (std::find(known.begin(), known.end(), key) == known.end())
        fail(join_path(path, key), absl::StrCat("\"", key, "\" is no key", suggestion(key, known)));
    }
  }

  std::string text(const Value& table, const std::string& path, const std::string& key) {
    const std::string* const value = table[key].text();
    if (value != nullptr && !value->empty()) return *value;
    fail(join_path(path, key),
         absl::StrCat("\"", key, "\" is ", table.has(key) ? "no text" : "missing"));
    return "";
  }

  void fail(const std::string& path, const std::string& why) {
    if (!status_.ok()) return;
    status_ =
        absl::InvalidArgumentError(absl::StrCat(document_.place(path).value.text(), ": ", why));
  }

  const Document& document_;
  absl::Status status_;
};

}  // namespace

int64_t layer_of(std::string_view linear) {
  for (const absl::string_view part :
       absl::StrSplit(absl::string_view(linear.data(), linear.size()), '.')) {
    int64_t number = -1;
    if (absl::SimpleAtoi(part, &number)) return number;
  }
  return -1;
}

bool MixRule::fits(const MixModel& model, std::string_view linear) const {
  if (!glob_match_any(match, linear)) return false;
  if (heads_per_kv > 0 && model.heads_per_kv < heads_per_kv) return false;
  if (experts > 0 && model.experts != experts) return false;
  const int64_t layer = layer_of(linear);
  if (first > 0 && layer >= first) return false;
  if (first_part > 0 && layer >= model.layers / first_part) return false;
  return !outer || is_outer(layer, model.layers);
}

const std::string& Mix::format_of(const MixModel& model, std::string_view linear,
                                  MixPlace place) const {
  const bool as_head = place == MixPlace::kHead || (place == MixPlace::kEmbedding && model.tied);
  if (as_head && !head.empty()) return head;
  if (place == MixPlace::kEmbedding && !embedding.empty()) return embedding;
  if (place != MixPlace::kBlock) return format;
  for (const MixRule& rule : rules)
    if (rule.fits(model, linear)) return rule.format;
  return format;
}

std::vector<std::string> Mix::formats() const {
  std::vector<std::string> all;
  const auto add = [&](const std::string& one) {
    if (!one.empty() && std::find(all.begin(), all.end(), one) == all.end()) all.push_back(one);
  };
  add(format);
  add(head);
  add(embedding);
  for (const MixRule& rule : rules) add(rule.format);
  for (size_t i = 0; i < all.size(); ++i)  // grows
    if (const auto found = fallback.find(all[i]); found != fallback.end()) add(found->second);
  return all;
}

absl::StatusOr<Mix> parse_mix(std::string_view toml, const std::string& name,
                              const std::string& origin) {
  auto document = parse_toml(toml, origin);
  if (!document.ok()) return document.status();
  auto mix = MixReader(*document).read();
  if (!mix.ok()) return mix;
  mix->name = name;
  mix->file = origin;
  mix->text = std::string(toml);
  return mix;
}

}  // namespace swage
