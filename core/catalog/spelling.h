#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/catalog/manifest.h"

namespace swage {

// Names of tensors as an adapter knows them and as one checkpoint spells them. Only beginnings
// differ; the longest that fits counts, of equal ones the first.
class Spelling {
 public:
  Spelling() = default;
  // Of `spellings`, those that occur among `names` of the checkpoint.
  Spelling(const Spellings& spellings, const std::vector<std::string>& names);

  bool empty() const { return pairs_.empty(); }
  std::string stored(std::string_view known) const;
  std::string known(std::string_view stored) const;
  // A glob over known names as one over stored names.
  std::string stored_glob(const std::string& glob) const { return stored(glob); }

 private:
  Spellings pairs_;
};

}  // namespace swage
