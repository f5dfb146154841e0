#include "core/engine/placeholders.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "swage/status.h"
#include "swage/text/data_file.h"

namespace swage {
namespace {

using Placeholders = std::map<int64_t, const char*>;  // id -> what it stands for

// Of video and sound there are no features, whatever a config.json promises. Small models of tests
// may give such ids to letters: only a special token is a placeholder.
Placeholders placeholders_of(const OpenedModel& model, const text::Tokenizer* tokenizer) {
  Placeholders known;
  constexpr std::pair<const char*, const char*> kKeys[] = {{"video_token_id", "a video"},
                                                           {"video_token_index", "a video"},
                                                           {"audio_token_id", "sound"},
                                                           {"audio_token_index", "sound"}};
  for (const auto& [key, what] : kKeys) {
    const int64_t* id = model.checkpoint().config()[key].integer();
    if (id == nullptr || tokenizer == nullptr) continue;
    if (tokenizer->decode({*id}, true).empty() && !tokenizer->decode({*id}, false).empty())
      known[*id] = what;
  }
  known[model.shape().image_token] = "a picture";
  return known;
}

bool holds_token(const Value& value, const text::Tokenizer& tokenizer, int64_t id) {
  if (const std::string* text = value.text()) {
    const auto ids = tokenizer.encode(*text, false);
    return ids.ok() && std::count(ids->begin(), ids->end(), id) > 0;
  }
  const auto holds = [&](const Value& inner) { return holds_token(inner, tokenizer, id); };
  if (value.list() != nullptr)
    return std::any_of(value.list()->begin(), value.list()->end(), holds);
  if (value.table() == nullptr) return false;
  return std::any_of(value.table()->begin(), value.table()->end(),
                     [&](const auto& member) { return holds(member.second); });
}

// ":3" of the first line that holds the token; "" where no line does by itself.
std::string line_with(const std::string& source, const text::Tokenizer& tokenizer, int64_t id) {
  const auto file = text::read_data_file(source);
  if (!file.ok() || file->kind == text::DataKind::kIds) return "";
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(file->content, '\n')) {
    ++number;
    const std::string text(line);
    const Value value = file->is_lines ? parse_json(text, "").value_or(Value()) : Value(text);
    if (holds_token(value, tokenizer, id)) return absl::StrCat(":", number);
  }
  return "";
}

}  // namespace

absl::Status check_placeholders(const TokenSet& tokens, const OpenedModel& model,
                                const std::string& source) {
  if (model.shape().image_token < 0) return absl::OkStatus();
  const auto tokenizer = model.tokenizer();
  const Placeholders known = placeholders_of(model, tokenizer.ok() ? tokenizer->get() : nullptr);
  for (size_t i = 0; i < tokens.sequences.size(); ++i) {
    const bool pictures = i < tokens.inputs.size() && !tokens.inputs[i].empty();
    const auto& ids = tokens.sequences[i];
    for (size_t j = 0; j < ids.size(); ++j) {
      const auto found = known.find(ids[j]);
      if (found == known.end() || (pictures && ids[j] == model.shape().image_token)) continue;
      const std::string text = tokenizer.ok() ? (*tokenizer)->decode({ids[j]}, false) : "";
      const std::string line = tokenizer.ok() ? line_with(source, **tokenizer, ids[j]) : "";
      return absl::InvalidArgumentError(absl::StrCat(
          source, line, ": ", line.empty() ? absl::StrCat("sequence ", i, " ") : "", "holds \"",
          text, "\" (token ", ids[j], line.empty() ? absl::StrCat(" at ", j) : "",
          "), which stands for ", found->second,
          ", but there is none; name pictures as docs/pipeline.md says, or take it out"));
    }
  }
  return absl::OkStatus();
}

}  // namespace swage
