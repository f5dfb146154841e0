#pragma once
#include <cstdint>
#include <initializer_list>

#include "swage/value.h"

namespace swage {

// The first of these keys of config.json that holds an integer; 0: none does. Families spell the
// same number in several ways.
inline int64_t first_of(const Value& config, std::initializer_list<const char*> keys) {
  for (const char* key : keys)
    if (const int64_t* const number = config[key].integer()) return *number;
  return 0;
}

}  // namespace swage
