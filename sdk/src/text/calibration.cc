#include "swage/text/calibration.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "python_random.h"
#include "source.h"
#include "swage/status.h"

namespace swage::text {
namespace {

using Sequence = std::vector<int64_t>;

absl::Status too_short(const std::string& path, size_t found, int64_t needed, const char* of_what) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": ", found, " tokens", of_what, ", at least ", needed,
                   " are needed: give more text or a smaller length"));
}

Sequence window(const Sequence& ids, int64_t begin, int64_t length) {
  return Sequence(ids.begin() + begin, ids.begin() + begin + length);
}

absl::StatusOr<TokenSet> draw_even(const CalibrationRequest& request, const Sequence& ids) {
  const int64_t total = static_cast<int64_t>(ids.size());
  if (total < request.length) return too_short(request.source, ids.size(), request.length, "");
  const int64_t count = std::min(request.samples, total / request.length);
  TokenSet set;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = count == 1 ? 0 : i * (total - request.length) / (count - 1);
    set.sequences.push_back(window(ids, begin, request.length));
  }
  return set;
}

absl::StatusOr<TokenSet> draw_random(const CalibrationRequest& request, const Sequence& ids) {
  const int64_t last = static_cast<int64_t>(ids.size()) - request.length -
                       1;  // as published: the very last is left out
  if (last < 0) return too_short(request.source, ids.size(), request.length + 1, "");
  PythonRandom random(request.seed);
  TokenSet set;
  for (int64_t i = 0; i < request.samples; ++i) {
    set.sequences.push_back(window(ids, random.randint(0, last), request.length));
  }
  return set;
}

absl::StatusOr<TokenSet> draw_short_documents(const CalibrationRequest& request, Source source,
                                              const Tokenizer& tokenizer) {
  PythonRandom(request.seed).shuffle(&source.documents);
  Sequence ids;
  int64_t kept = 0;
  for (const std::string& document : source.documents) {
    if (kept == request.samples) break;
    const absl::string_view text = absl::StripAsciiWhitespace(document);
    SWAGE_ASSIGN_OR_RETURN(const Sequence found,
                           tokenizer.encode({text.data(), text.size()}, !source.is_chat));
    if (text.empty() || static_cast<int64_t>(found.size()) > request.length) continue;
    ids.insert(ids.end(), found.begin(), found.end());
    ++kept;
  }
  const int64_t count = static_cast<int64_t>(ids.size()) / request.length;
  if (count == 0) {
    return too_short(
        request.source, ids.size(), request.length,
        " in documents that are no longer than a window (the awq recipe drops longer ones)");
  }
  TokenSet set;
  for (int64_t i = 0; i < count; ++i)
    set.sequences.push_back(window(ids, i * request.length, request.length));
  return set;
}

absl::StatusOr<TokenSet> take_documents(const CalibrationRequest& request, const Source& source,
                                        const Tokenizer& tokenizer) {
  TokenSet set;
  for (const std::string& document : source.documents) {
    if (static_cast<int64_t>(set.sequences.size()) == request.samples) break;
    SWAGE_ASSIGN_OR_RETURN(Sequence ids, tokenizer.encode(document, !source.is_chat));
    if (static_cast<int64_t>(ids.size()) > request.length) ids.resize(request.length);
    if (!ids.empty()) set.sequences.push_back(std::move(ids));
  }
  if (set.sequences.empty()) return too_short(request.source, 0, 1, "");
  return set;
}

TokenSet take_ids(const CalibrationRequest& request, Source source) {
  TokenSet set{std::move(source.sequences)};
  if (static_cast<int64_t>(set.sequences.size()) > request.samples)
    set.sequences.resize(request.samples);
  for (Sequence& ids : set.sequences) {
    if (static_cast<int64_t>(ids.size()) > request.length) ids.resize(request.length);
  }
  return set;
}

absl::StatusOr<TokenSet> draw(const CalibrationRequest& request, Source source,
                              const Tokenizer* tokenizer) {
  if (source.is_ids) return take_ids(request, std::move(source));
  if (tokenizer == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(request.source,
                     ": the model has no tokenizer.json, so calibration must be token ids as "
                     "{\"input_ids\": [[…]]}"));
  }
  if (request.recipe == "awq") return draw_short_documents(request, std::move(source), *tokenizer);
  if (request.recipe == "whole") return take_documents(request, source, *tokenizer);
  SWAGE_ASSIGN_OR_RETURN(const Sequence ids, encode_joined(source, *tokenizer, true));
  if (request.recipe == "even") return draw_even(request, ids);
  if (request.recipe == "gptq") return draw_random(request, ids);
  return absl::InvalidArgumentError(
      absl::StrCat("the calibration recipe \"", request.recipe,
                   "\" is not known, expected even, gptq, awq or whole"));
}

absl::Status check_ids(const std::string& path, const TokenSet& set, int64_t vocab_size) {
  for (size_t i = 0; i < set.sequences.size(); ++i) {
    for (size_t j = 0; j < set.sequences[i].size(); ++j) {
      const int64_t id = set.sequences[i][j];
      if (id >= 0 && id < vocab_size) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": sequence ", i, " has the token id ", id, " at ", j,
                       ", but the model knows 0 to ", vocab_size - 1,
                       ": were the ids made with another tokenizer?"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenSet> draw_calibration(const CalibrationRequest& request,
                                          const Tokenizer* tokenizer, int64_t vocab_size,
                                          const absl::StatusOr<ChatTemplate>& chat) {
  if (request.samples < 1 || request.length < 1) {
    return absl::InvalidArgumentError(absl::StrCat("calibration: samples = ", request.samples,
                                                   " and length = ", request.length,
                                                   ", both must be at least 1"));
  }
  SWAGE_ASSIGN_OR_RETURN(Source source, read_source(request.source, chat));
  SWAGE_ASSIGN_OR_RETURN(TokenSet set, draw(request, std::move(source), tokenizer));
  SWAGE_RETURN_IF_ERROR(check_ids(request.source, set, vocab_size));
  return set;
}

WindowRequest window_request(const Params& params) {
  WindowRequest request;
  request.source = params.text("source");
  for (const auto& [name, field] :
       {std::pair("length", &request.length), std::pair("stride", &request.stride),
        std::pair("every", &request.every), std::pair("windows", &request.windows)}) {
    if (params.has(name)) *field = params.i64(name);
  }
  if (params.has("special_tokens")) request.special_tokens = params.flag("special_tokens");
  return request;
}

absl::StatusOr<TokenSet> cut_windows(const WindowRequest& request, const Tokenizer& tokenizer) {
  const int64_t stride = request.stride == 0 ? request.length : request.stride;
  if (request.length < 1 || stride < 1 || request.every < 1 || request.windows < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("windows: length = ", request.length, ", stride = ", request.stride,
                     ", every = ", request.every, ", windows = ", request.windows,
                     ": length and every must be at least 1, the others at least 0"));
  }
  SWAGE_ASSIGN_OR_RETURN(
      const Source source,
      read_source(request.source, absl::InvalidArgumentError(
                                      "evaluations read no chats, only texts and token ids")));
  Sequence ids;
  for (const Sequence& part : source.sequences) ids.insert(ids.end(), part.begin(), part.end());
  if (!source.is_ids) {
    SWAGE_ASSIGN_OR_RETURN(ids, encode_joined(source, tokenizer, request.special_tokens));
  }
  const int64_t total = static_cast<int64_t>(ids.size());
  if (total < request.length) return too_short(request.source, ids.size(), request.length, "");
  TokenSet set;
  for (int64_t begin = 0; begin + request.length <= total; begin += stride * request.every) {
    if (request.windows > 0 && static_cast<int64_t>(set.sequences.size()) == request.windows) break;
    set.sequences.push_back(window(ids, begin, request.length));
  }
  return set;
}

absl::StatusOr<TokenSet> evaluation_sequences(const WindowRequest& request,
                                              const EvaluationInput& input) {
  const int64_t all = std::numeric_limits<int64_t>::max();
  const int64_t every = std::max<int64_t>(request.every, 1);
  const int64_t count = request.windows > 0 ? request.windows * every : all;
  SWAGE_ASSIGN_OR_RETURN(std::optional<TokenSet> documents,
                         input.documents(request.source, request.length, count));
  if (!documents) return cut_windows(request, input.tokenizer());
  TokenSet set;
  for (size_t i = 0; i < documents->sequences.size(); i += static_cast<size_t>(every)) {
    set.sequences.push_back(std::move(documents->sequences[i]));
    if (!documents->inputs.empty()) set.inputs.push_back(std::move(documents->inputs[i]));
  }
  return set;
}

}  // namespace swage::text
