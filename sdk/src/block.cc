#include "swage/block.h"

#include <ATen/ops/isin.h>

#include <stdexcept>

namespace swage {

const at::Tensor& Slots::at(std::string_view name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end())
    throw std::out_of_range("no slot \"" + std::string(name) + "\" at this stage");
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
  const auto route = routes_.find(name);
  if (route != routes_.end()) routes_.erase(route);
  const auto aside = aside_.find(name);
  if (aside != aside_.end()) aside_.erase(aside);
}

void Slots::put_aside(std::string_view name, at::Tensor value) {
  (*this)[name] = std::move(value);
  aside_.insert(std::string(name));
}

void Slots::keep_border() {
  std::vector<std::string> gone;
  for (const auto& [name, tensor] : tensors_) {
    if (name != kHidden && !is_of_tower(name)) gone.push_back(name);
  }
  for (const std::string& name : gone) erase(name);
}

void Slots::put_routed(std::string_view name, at::Tensor value, Route route) {
  (*this)[name] = std::move(value);
  routes_[std::string(name)] = std::move(route);
}

at::Tensor Slots::rows_of(const Route& route) const {
  if (route.empty()) return at::arange(tokens(), at::kLong);
  return at(route.slot).eq(route.expert).any(1).nonzero().flatten();
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
  result.experts_seen = experts_seen;
  if (positions.defined())
    result.positions = positions.index_select(0, rows.to(positions.device()));
  for (const auto& [name, tensor] : tensors_) {
    if (is_aside(name)) {
      result.put_aside(name, tensor);
      continue;
    }
    const auto route = routes_.find(name);
    if (route == routes_.end()) {
      result[name] = tensor.index_select(0, rows.to(tensor.device()));
      continue;
    }
    const at::Tensor held =
        at::isin(rows_of(route->second), rows.to(at(route->second.slot).device()));
    result.put_routed(name, tensor.index_select(0, held.nonzero().flatten().to(tensor.device())),
                      route->second);
  }
  return result;
}

Slots Slots::concatenate(const std::vector<Slots>& parts) {
  Slots all;
  std::vector<at::Tensor> positions;
  std::map<std::string, std::vector<at::Tensor>> tensors;
  for (const Slots& part : parts) {
    all.lengths.insert(all.lengths.end(), part.lengths.begin(), part.lengths.end());
    all.experts_seen = part.experts_seen;
    positions.push_back(part.positions);
    for (const auto& [name, tensor] : part.tensors_) tensors[name].push_back(tensor);
    all.routes_.insert(part.routes_.begin(), part.routes_.end());
    all.aside_.insert(part.aside_.begin(), part.aside_.end());
  }
  if (!positions.empty() && positions.front().defined()) all.positions = at::cat(positions);
  for (const auto& [name, list] : tensors) all.tensors_[name] = at::cat(list);
  return all;
}

ResidualSites Block::residual_sites() {
  return {"the adapter does not say where its blocks read and write it", {}, {}};
}

KeySites Block::key_sites() {
  KeySites sites;
  sites.why_none = "the adapter does not say which rows make queries and keys";
  return sites;
}

void Block::forward(Slots& slots) {
  for (int64_t stage = 0; stage < stage_count(); ++stage) run_stage(stage, slots);
}

void Block::set_view(View view) {
  for (Linear& linear : linears_) linear.set_view(view);
}

}  // namespace swage
