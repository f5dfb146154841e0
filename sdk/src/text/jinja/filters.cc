#include "filters.h"

#include "swage/suggest.h"

namespace swage::text::jinja {
namespace {

const Filters& all_filters() {
  static const Filters table = [] {
    Filters all = text_filters();
    for (const Filters* more : {&number_filters(), &sequence_filters(), &selection_filters()}) {
      all.insert(more->begin(), more->end());
    }
    return all;
  }();
  return table;
}

}  // namespace

Value Interpreter::filter(std::string_view name, const Value& value, const Call& call) {
  const auto it = all_filters().find(name);
  if (it == all_filters().end()) {
    std::vector<std::string> known;
    for (const auto& [other, unused] : all_filters()) known.emplace_back(other);
    fail("there is no filter named \"", name, "\"", suggestion(name, known));
  }
  return it->second(*this, value, call);
}

}  // namespace swage::text::jinja
