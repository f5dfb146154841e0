#include "swage/block.h"

#include <stdexcept>

namespace swage {

const at::Tensor& Slots::at(std::string_view name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) throw std::out_of_range("no slot \"" + std::string(name) + "\" at this stage");
  return it->second;
}

at::Tensor& Slots::operator[](std::string_view name) {
  const auto it = tensors_.find(name);
  return it != tensors_.end() ? it->second : tensors_[std::string(name)];
}

at::Tensor Slots::take(std::string_view name) {
  at::Tensor tensor = at(name);
  erase(name);
  return tensor;
}

void Slots::erase(std::string_view name) {
  const auto it = tensors_.find(name);
  if (it != tensors_.end()) tensors_.erase(it);
}

int64_t Slots::tokens() const {
  int64_t total = 0;
  for (int64_t length : lengths) total += length;
  return total;
}

Slots Slots::prefix(int64_t count) const {
  std::vector<at::Tensor> ranges;
  Slots result;
  int64_t first = 0;
  for (int64_t length : lengths) {
    const int64_t kept = std::min(length, count);
    ranges.push_back(at::arange(first, first + kept, at::kLong));
    result.lengths.push_back(kept);
    first += length;
  }
  const at::Tensor rows = at::cat(ranges);
  if (positions.defined()) result.positions = positions.index_select(0, rows.to(positions.device()));
  for (const auto& [name, tensor] : tensors_) {
    result[name] = tensor.index_select(0, rows.to(tensor.device()));
  }
  return result;
}

void Block::forward(Slots& slots) {
  for (int64_t stage = 0; stage < stage_count(); ++stage) run_stage(stage, slots);
}

void Block::set_view(View view) {
  for (Linear& linear : linears_) linear.set_view(view);
}

}  // namespace swage
