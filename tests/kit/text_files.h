#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "swage/value.h"

// Files and generated text that tests of swage/text share.
namespace swage::testing_text {

std::string test_data(const std::string& name);  // path under tests/data
std::string read_text(const std::string& path);  // fails the test when the file cannot be read
std::string write_temporary(const std::string& name, const std::string& content);  // gives the path
// About `size` bytes of words, spaces, digits and characters assigned in Unicode 14: the same text
// on every machine, and the one that kit/text/make_token_goldens.py makes.
std::string mixed_text(size_t size);

Value read_json(const std::string& path);

// FNV-1a over the ids as 32-bit little-endian words, in hexadecimal digits.
std::string digest(const std::vector<int64_t>& ids);
std::vector<int64_t> integers(const Value& list);

}  // namespace swage::testing_text
