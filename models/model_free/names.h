#pragma once
#include <cstdint>
#include <string>

#include "swage/value.h"

// What names and config.json tell of a model that nothing else is known of.
namespace swage::model_free {

// 0: it says nowhere.
int64_t layer_count(const Value& config);
int64_t expert_count(const Value& config);
int64_t vocabulary_size(const Value& config);

// By the end of its name.
bool is_linear(const std::string& module);

// The numbers behind a stack of layers and behind "experts"; -1: none.
struct Place {
  int64_t layer = -1, expert = -1;
};
Place place_of(const std::string& module);

}  // namespace swage::model_free
