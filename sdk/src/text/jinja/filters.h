#pragma once
#include <map>
#include <string_view>

#include "interpreter.h"

namespace swage::text::jinja {

using Filter = Value (*)(Interpreter&, const Value& input, const Call&);
using Filters = std::map<std::string_view, Filter>;

const Filters& text_filters();
const Filters& number_filters();
const Filters& sequence_filters();
const Filters& selection_filters();

}  // namespace swage::text::jinja
