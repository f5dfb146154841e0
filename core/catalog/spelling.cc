#include "core/catalog/spelling.h"

#include <algorithm>

namespace swage {
namespace {

bool begins(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

// `name` with its longest `from` replaced.
std::string exchanged(std::string_view name, const Spellings& pairs,
                      std::string std::pair<std::string, std::string>::*from,
                      std::string std::pair<std::string, std::string>::*to) {
  const std::pair<std::string, std::string>* best = nullptr;
  for (const auto& pair : pairs) {
    const std::string& start = pair.*from;
    if (begins(name, start) && (best == nullptr || start.size() > ((*best).*from).size()))
      best = &pair;
  }
  if (best == nullptr) return std::string(name);
  return (*best).*to + std::string(name.substr(((*best).*from).size()));
}

}  // namespace

Spelling::Spelling(const Spellings& spellings, const std::vector<std::string>& names) {
  for (const auto& pair : spellings) {
    if (std::any_of(names.begin(), names.end(),
                    [&](const std::string& name) { return begins(name, pair.second); }))
      pairs_.push_back(pair);
  }
}

std::string Spelling::stored(std::string_view known) const {
  using Pair = std::pair<std::string, std::string>;
  return exchanged(known, pairs_, &Pair::first, &Pair::second);
}

std::string Spelling::known(std::string_view stored) const {
  using Pair = std::pair<std::string, std::string>;
  return exchanged(stored, pairs_, &Pair::second, &Pair::first);
}

}  // namespace swage
