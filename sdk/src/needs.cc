#include <utility>

#include "swage/algorithm.h"

namespace swage {

struct Needs::Fields {
  Stream stream = Stream::kNone;
  bool hessian = false, absmax = false, mean_abs = false, square_sum = false, range = false,
       histogram = false, whole_inputs = false;
  bool online_transforms = false, sides = false, masks = false;
  int64_t sample = 0;
};

Needs::Needs() : fields_(std::make_shared<const Fields>()) {}

Needs::Fields& Needs::change() {
  auto copy = std::make_shared<Fields>(*fields_);
  Fields& fields = *copy;
  fields_ = std::move(copy);
  return fields;
}

Needs& Needs::calibrate_on(Stream value) { return change().stream = value, *this; }
Needs& Needs::hessian() { return change().hessian = true, *this; }
Needs& Needs::absmax() { return change().absmax = true, *this; }
Needs& Needs::mean_abs() { return change().mean_abs = true, *this; }
Needs& Needs::square_sum() { return change().square_sum = true, *this; }
Needs& Needs::range() { return change().range = true, *this; }
Needs& Needs::histogram() { return change().histogram = true, *this; }
Needs& Needs::whole_inputs() { return change().whole_inputs = true, *this; }
Needs& Needs::online_transforms() { return change().online_transforms = true, *this; }
Needs& Needs::sides() { return change().sides = true, *this; }
Needs& Needs::masks() { return change().masks = true, *this; }
Needs& Needs::sample(int64_t tokens) { return change().sample = tokens, *this; }

Stream Needs::stream() const { return fields_->stream; }
bool Needs::wants_hessian() const { return fields_->hessian; }
bool Needs::wants_absmax() const { return fields_->absmax; }
bool Needs::wants_mean_abs() const { return fields_->mean_abs; }
bool Needs::wants_square_sum() const { return fields_->square_sum; }
bool Needs::wants_range() const { return fields_->range; }
bool Needs::wants_histogram() const { return fields_->histogram; }
bool Needs::wants_whole_inputs() const { return fields_->whole_inputs; }
bool Needs::leaves_online_transforms() const { return fields_->online_transforms; }
bool Needs::leaves_sides() const { return fields_->sides; }
bool Needs::leaves_masks() const { return fields_->masks; }
int64_t Needs::sample_tokens() const { return fields_->sample; }

}  // namespace swage
