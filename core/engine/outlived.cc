#include "core/engine/outlived.h"

#include <stdexcept>
#include <string>
#include <vector>

namespace swage {

void outlive(std::shared_ptr<void> handed) {
  static auto* const all = new std::vector<std::shared_ptr<void>>;
  all->push_back(std::move(handed));
}

void refuse_outlived(const char* what) {
  throw std::logic_error(std::string(what) +
                         " is used after the call that it was given for, a bug of the plugin");
}

}  // namespace swage
