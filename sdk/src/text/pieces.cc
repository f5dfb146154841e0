#include "pieces.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage::text {
namespace {

// A find is joined to the part before it, unless a find precedes it.
void merge_with_previous(std::vector<Match>* matches) {
  std::vector<Match> merged;
  bool previous = false;
  for (const Match& match : *matches) {
    if (match.found && !previous && !merged.empty()) {
      merged.back().end = match.end;
    } else {
      merged.push_back(match);
    }
    previous = match.found;
  }
  *matches = std::move(merged);
}

void merge_with_next(std::vector<Match>* matches) {
  std::vector<Match> merged;
  bool following = false;
  for (auto it = matches->rbegin(); it != matches->rend(); ++it) {
    if (it->found && !following && !merged.empty()) {
      merged.back().begin = it->begin;
    } else {
      merged.push_back(*it);
    }
    following = it->found;
  }
  std::reverse(merged.begin(), merged.end());
  *matches = std::move(merged);
}

void merge_equal(std::vector<Match>* matches) {
  std::vector<Match> merged;
  for (const Match& match : *matches) {
    if (!merged.empty() && merged.back().found == match.found) {
      merged.back().end = match.end;
    } else {
      merged.push_back(match);
    }
  }
  *matches = std::move(merged);
}

}  // namespace

absl::StatusOr<Behavior> behavior_named(const std::string& name) {
  static constexpr const char* kNames[] = {"Isolated", "Removed", "MergedWithPrevious",
                                           "MergedWithNext", "Contiguous"};
  for (int i = 0; i < 5; ++i) {
    if (name == kNames[i]) return static_cast<Behavior>(i);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"behavior\" is \"", name,
      "\", expected Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous"));
}

absl::Status split(const Finder& find, Behavior behavior, bool invert, Pieces* pieces) {
  std::vector<Pieces::Range> cut;
  std::vector<Match> matches;
  for (const Pieces::Range& range : pieces->ranges) {
    SWAGE_RETURN_IF_ERROR(find(pieces->piece(range), &matches));
    if (invert) {
      for (Match& match : matches) match.found = !match.found;
    }
    if (behavior == Behavior::kMergedWithPrevious) merge_with_previous(&matches);
    if (behavior == Behavior::kMergedWithNext) merge_with_next(&matches);
    if (behavior == Behavior::kContiguous) merge_equal(&matches);
    for (const Match& match : matches) {
      if (match.begin == match.end || (behavior == Behavior::kRemoved && match.found)) continue;
      cut.push_back(
          {range.begin + match.begin, range.begin + match.end, range.at_start && match.begin == 0});
    }
  }
  pieces->ranges = std::move(cut);
  return absl::OkStatus();
}

}  // namespace swage::text
