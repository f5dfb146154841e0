#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/evaluator.h"
#include "swage/export.h"
#include "swage/params.h"
#include "swage/text/chat_template.h"
#include "swage/text/tokenizer.h"

namespace swage::text {

// How calibration windows are drawn from a source (data_file.h).
//   source  running text: one document; JSON Lines: one document a line, {"text": …} or a chat:
//           {"messages": […]} or {"conversations": [{"from": …, "value": …}]}, rendered by the
//           model's template and encoded as it stands; token ids {"input_ids": [[…]]} without the
//           padding that "attention_mask" hides (recipe, samples and length cut them at most)
//   recipe  "even"    windows of `length` at an even stride over the joined text
//           "gptq"    `samples` windows at random places (the random numbers of CPython's
//                     `random`, seeded)
//           "awq"     documents shuffled, those longer than `length` dropped, joined, cut
//           "whole"   each document is one sequence, cut at `length`
struct SWAGE_API CalibrationRequest {
  std::string source;
  std::string recipe = "even";
  int64_t samples = 128;
  int64_t length = 2048;
  int64_t seed = 0;
};

// Errors: unreadable or empty source (what was found, how many tokens are needed), ids beyond
// vocab_size, bad UTF-8 or JSON with its line. `tokenizer` may be null for token-id sources. `chat`
// renders chats, or says why there is no template: that is the error of the first chat, and of no
// consequence where there is none.
SWAGE_API absl::StatusOr<TokenSet> draw_calibration(
    const CalibrationRequest& request, const Tokenizer* tokenizer, int64_t vocab_size,
    const absl::StatusOr<ChatTemplate>& chat = absl::NotFoundError("no chat template is given"));

// The windows of an evaluation: the whole source tokenized in one piece (no special tokens unless
// asked), cut every `stride` tokens into windows of `length`, every n-th of them, at most
// `windows`.
struct SWAGE_API WindowRequest {
  std::string source;
  int64_t length = 2048;
  int64_t stride = 0;  // 0 = length
  int64_t every = 1;
  int64_t windows = 0;  // 0 = all
  bool special_tokens = false;
};
SWAGE_API WindowRequest window_request(const Params& params);  // from parameters of these names
SWAGE_API absl::StatusOr<TokenSet> cut_windows(const WindowRequest& request,
                                               const Tokenizer& tokenizer);
// The same of running text; documents of a source that holds some (EvaluationInput::documents),
// every n-th of them.
SWAGE_API absl::StatusOr<TokenSet> evaluation_sequences(const WindowRequest& request,
                                                        const EvaluationInput& input);

}  // namespace swage::text
