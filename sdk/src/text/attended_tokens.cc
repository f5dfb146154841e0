#include <algorithm>

#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/text/data_file.h"

namespace swage::text {
namespace {

// Of training and of tokenizers: no model reads them.
constexpr std::string_view kWithoutEffect[] = {"labels",    "special_tokens_mask",
                                               "length",    "num_truncated_tokens",
                                               "loss_mask", "assistant_masks"};

bool is_without_effect(std::string_view name) {
  return std::count(std::begin(kWithoutEffect), std::end(kWithoutEffect), name) > 0;
}

absl::Status wrong(std::string_view key, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("\"", std::string(key), "\" ", what));
}

// First and one behind the last token that the mask shows.
absl::StatusOr<std::pair<size_t, size_t>> shown(const std::vector<int64_t>& mask) {
  for (const int64_t value : mask) {
    if (value != 0 && value != 1)
      return wrong("attention_mask", absl::StrCat("holds ", value, ", expected 0 and 1"));
  }
  const auto first = std::find(mask.begin(), mask.end(), 1);
  if (first == mask.end()) return wrong("attention_mask", "hides every token of the sequence");
  const auto last = std::find(mask.rbegin(), mask.rend(), 1).base();
  if (const auto hole = std::find(first, last, 0); hole != last) {
    return wrong("attention_mask",
                 absl::StrCat("hides token ", hole - mask.begin(),
                              " between others; padding in front and behind is understood"));
  }
  return std::pair(static_cast<size_t>(first - mask.begin()),
                   static_cast<size_t>(last - mask.begin()));
}

absl::Status check_effect(const std::string& name, const std::vector<int64_t>& values, size_t begin,
                          size_t end) {
  for (size_t i = begin; i < end; ++i) {
    const int64_t expected = name == "position_ids" ? static_cast<int64_t>(i - begin) : 0;
    if (values[i] == expected) continue;
    return wrong(name, absl::StrCat("holds ", values[i], " for token ", i - begin, ", expected ",
                                    expected, ": every sequence runs from position 0, as one"));
  }
  return absl::OkStatus();
}

}  // namespace

bool is_known_beside_ids(std::string_view name) {
  return name == "attention_mask" || name == "position_ids" || name == "token_type_ids" ||
         is_without_effect(name);
}

absl::StatusOr<std::vector<int64_t>> attended_tokens(const std::vector<int64_t>& ids,
                                                     const BesideIds& beside) {
  for (const auto& [name, values] : beside) {
    if (!is_known_beside_ids(name)) {
      return wrong(name,
                   "beside input_ids is not understood; take it out if no model has to read it");
    }
    if (!is_without_effect(name) && values.size() != ids.size()) {
      return wrong(name, absl::StrCat("has ", values.size(), " values for ", ids.size(),
                                      " tokens, expected one for each"));
    }
  }
  size_t begin = 0, end = ids.size();
  if (const auto mask = beside.find("attention_mask"); mask != beside.end()) {
    SWAGE_ASSIGN_OR_RETURN(const auto range, shown(mask->second));
    std::tie(begin, end) = range;
  }
  for (const char* name : {"position_ids", "token_type_ids"}) {
    const auto found = beside.find(name);
    if (found != beside.end()) SWAGE_RETURN_IF_ERROR(check_effect(name, found->second, begin, end));
  }
  return std::vector<int64_t>(ids.begin() + static_cast<int64_t>(begin),
                              ids.begin() + static_cast<int64_t>(end));
}

}  // namespace swage::text
