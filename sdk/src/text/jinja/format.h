#pragma once
#include <string_view>

#include "value.h"

namespace swage::text::jinja {

// The % operator of str: %s %r %d %i %x %X %o %f %e %g %c %%, with flags, width and precision.
Value format(Budget* budget, std::string_view pattern, const Value& arguments);

}  // namespace swage::text::jinja
