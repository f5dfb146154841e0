#pragma once
#include <string>

#include "absl/status/statusor.h"
#include "core/engine/opened_model.h"
#include "swage/evaluator.h"
#include "swage/text/calibration.h"

namespace swage {

// Does a line of the .jsonl file hold pictures?
absl::StatusOr<bool> holds_pictures(const std::string& file);

// Sequences with pictures out of a .jsonl file, one a line:
//   {"messages": [{"role": "user", "content": [{"type": "image", "image": "cat.jpg"}, {"type":
//   "text",
//    "text": "…"}]}, …]}   rendered by the model's chat template and encoded as it stands
//   {"text": "… <image> …", "images": ["cat.jpg"]}   with the model's image token where a picture
//   is
// Paths start at the file's folder. Pictures are prepared as preprocessor_config.json says. At most
// request.samples lines; a line is cut at request.length tokens, and passed over where that would
// cut a picture. Errors name file and line.
absl::StatusOr<TokenSet> draw_pictures(const text::CalibrationRequest& request,
                                       const OpenedModel& model);

}  // namespace swage
