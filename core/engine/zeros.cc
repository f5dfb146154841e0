#include "core/engine/zeros.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace swage {
namespace {

// Half of the scale that stands for one that fp16 cannot hold: what is smaller becomes 0.
constexpr double kLeastInHalf = 3.0517578125e-05;

// Nothing is left of it, although it had weights.
bool became_zero(const LinearOutcome& outcome) { return outcome.is_zero && !outcome.was_zero; }

using Found = std::vector<const LinearOutcome*>;

// The largest count first, a few of them by what `text` says.
std::string few(Found found, const std::function<int64_t(const LinearOutcome&)>& count,
                const std::function<std::string(const LinearOutcome&)>& text) {
  constexpr size_t kShown = 4;
  std::stable_sort(found.begin(), found.end(),
                   [&](const auto* a, const auto* b) { return count(*a) > count(*b); });
  std::vector<std::string> texts;
  for (size_t i = 0; i < std::min(found.size(), kShown); ++i) texts.push_back(text(*found[i]));
  const std::string more =
      found.size() > kShown ? absl::StrCat(" and of ", found.size() - kShown, " more linears") : "";
  return absl::StrJoin(texts, ", ") + more;
}

Found where(const std::vector<LinearOutcome>& outcomes,
            const std::function<bool(const LinearOutcome&)>& fits) {
  Found found;
  for (const LinearOutcome& outcome : outcomes) {
    if (fits(outcome)) found.push_back(&outcome);
  }
  return found;
}

// Too small for scales in fp16, in a format that can have others.
bool too_small_for_half(const LinearOutcome& outcome) {
  const LinearSummary& linear = outcome.summary;
  return linear.scale_dtype == at::kHalf && outcome.largest_lost < kLeastInHalf &&
         (linear.weight == nullptr || linear.weight->scheme().has("scale_dtype"));
}

std::string rows_text(const LinearOutcome& outcome) {
  return became_zero(outcome) ? absl::StrCat("the whole of ", outcome.summary.name)
                              : absl::StrCat(outcome.zeroed_rows, " of ", outcome.summary.out,
                                             " outputs of ", outcome.summary.name);
}

// Outputs that are 0 now, together because one thing made them so.
void add_rows(const Found& found, const std::string& why, std::vector<std::string>* notes) {
  if (found.empty()) return;
  double largest = 0;
  for (const LinearOutcome* outcome : found) largest = std::max(largest, outcome->largest_lost);
  const auto count = [](const LinearOutcome& outcome) {
    return became_zero(outcome) ? outcome.summary.out + 1 : outcome.zeroed_rows;
  };
  notes->push_back(absl::StrFormat("all weights became 0 for %s: up to %.2g, %s",
                                   few(found, count, rows_text), largest, why));
}

}  // namespace

std::vector<std::string> zero_notes(const std::vector<LinearOutcome>& outcomes) {
  std::vector<std::string> notes;
  add_rows(where(outcomes,
                 [](const auto& one) { return one.zeroed_rows > 0 && too_small_for_half(one); }),
           "they are too small for scales in fp16; weight = { scale_dtype = \"fp32\" } keeps them",
           &notes);
  add_rows(where(outcomes,
                 [](const auto& one) { return one.zeroed_rows > 0 && !too_small_for_half(one); }),
           "they are too small for their scales, or no calibration token made their inputs active; "
           "an override with keep = true leaves them as they are",
           &notes);
  const auto share = [](const LinearOutcome& one) { return one.zeroed * 1000 / one.summary.in; };
  const Found columns =
      where(outcomes, [](const auto& one) { return one.zeroed > 0 && !became_zero(one); });
  if (!columns.empty())
    notes.push_back(absl::StrCat(
        "all weights became 0 for ",
        few(columns, share,
            [](const LinearOutcome& one) {
              return absl::StrCat(one.zeroed, " of ", one.summary.in, " inputs of ",
                                  one.summary.name);
            }),
        ": inputs that no calibration token made active, or weights too small for their scales"));
  const Found empty = where(outcomes, [](const auto& one) { return one.was_zero; });
  if (!empty.empty())
    notes.push_back(
        absl::StrCat("nothing but zeros came in, and is exported, as the weights of ",
                     few(
                         empty, [](const LinearOutcome& one) { return one.summary.out; },
                         [](const LinearOutcome& one) { return one.summary.name; })));
  return notes;
}

}  // namespace swage
