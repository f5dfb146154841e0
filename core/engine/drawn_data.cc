#include "core/engine/drawn_data.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace swage {
namespace {

std::string counted(int64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

std::string windows_that(int64_t count, const DrawnData& data, const char* is, const char* are) {
  return absl::StrCat(count, " of ", counted(data.windows, "window"), count == 1 ? is : are);
}

}  // namespace

void DrawnData::count(const SequenceSet& sequences, const ModelShape& model) {
  const TokenSet& set = sequences.tokens();
  std::set<std::vector<int64_t>> seen;
  context_length = model.context_length;
  windows = sequences.sequence_count();
  tokens = sequences.token_count();
  digest = sequences.empty() ? "" : sequences.digest();
  for (size_t i = 0; i < set.sequences.size(); ++i) {
    const auto length = static_cast<int64_t>(set.sequences[i].size());
    const bool has_picture = i < set.inputs.size() && !set.inputs[i].empty();
    shortest = i == 0 ? length : std::min(shortest, length);
    longest = std::max(longest, length);
    pictured += has_picture;
    single += length == 1;
    beyond_context += context_length > 0 && length > context_length;
    if (!has_picture) repeated += !seen.insert(set.sequences[i]).second;  // pictures may differ
  }
}

std::string text_of(const DrawnData& data) {
  const std::string lengths =
      data.shortest == data.longest
          ? counted(data.longest, "token")
          : absl::StrCat(data.shortest, " to ", counted(data.longest, "token"));
  return absl::StrCat(
      data.name, ": ", counted(data.windows, "window"), " of ", lengths, ", ",
      counted(data.tokens, "token"),
      data.pictured > 0 ? absl::StrCat(", ", data.pictured, " with pictures") : "",
      data.source.empty() ? "" : absl::StrCat(" (", data.kind, " ", data.source, ")"));
}

std::vector<std::string> remarks_on(const DrawnData& data) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& text) {
    lines.push_back(absl::StrCat(data.name, ": ", text));
  };
  for (const std::string& remark : data.remarks) add(remark);
  const int64_t asked_tokens = data.asked_windows * data.asked_length;
  if (data.windows < data.asked_windows) {
    add(absl::StrCat(counted(data.windows, "window"), " of ", data.asked_windows, " asked for, ",
                     counted(data.tokens, "token"), " of ", asked_tokens,
                     ": the source gives no more"));
  } else if (data.tokens < asked_tokens) {
    add(absl::StrCat(counted(data.tokens, "token"), " of ", asked_tokens,
                     " asked for: windows are shorter than ", data.asked_length, ", down to ",
                     counted(data.shortest, "token")));
  }
  if (data.single > 0)
    add(absl::StrCat(windows_that(data.single, data, " is", " are"), " a single token"));
  if (data.repeated > 0)
    add(windows_that(data.repeated, data, " repeats another one", " repeat other ones"));
  if (data.beyond_context > 0) {
    add(absl::StrCat(windows_that(data.beyond_context, data, " is", " are"),
                     " longer than the model's context of ", counted(data.context_length, "token"),
                     ", up to ", data.longest, ": positions that it was not trained on"));
  }
  return lines;
}

Value to_value(const DrawnData& data) {
  return Value(Value::Table{
      {"source", data.source},
      {"kind", data.kind},
      {"asked", Value::Table{{"windows", data.asked_windows}, {"length", data.asked_length}}},
      {"windows", data.windows},
      {"tokens", data.tokens},
      {"shortest", data.shortest},
      {"longest", data.longest},
      {"with_pictures", data.pictured},
      {"repeated", data.repeated},
      {"digest", data.digest}});
}

}  // namespace swage
