#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/opened_model.h"
#include "swage/evaluator.h"
#include "swage/text/calibration.h"
#include "swage/text/data_file.h"

namespace swage {

// Does a line of the JSON Lines hold pictures? InvalidArgument: a line holds what nothing
// understands.
absl::StatusOr<bool> holds_pictures(const text::DataFile& file);

// Sequences with pictures, one a line (data_file.h):
//   {"messages": [{"role": "user", "content": [{"type": "image", "image": "cat.jpg"},
//   {"type": "text", "text": "…"}]}, …]}   rendered by the model's chat template and encoded as it
//   stands
//   {"text": "… <image> …", "images": ["cat.jpg"]}   with the model's image token where a picture
//   is
// Paths start at the file's folder. Pictures are prepared as preprocessor_config.json says. At most
// request.samples lines; a line is cut at request.length tokens, and passed over where that would
// cut a picture, which a remark counts. Errors name file and line.
absl::StatusOr<TokenSet> draw_pictures(const text::DataFile& file,
                                       const text::CalibrationRequest& request,
                                       const OpenedModel& model, std::vector<std::string>* remarks);

}  // namespace swage
