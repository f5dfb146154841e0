#pragma once
#include <string>

// Files and generated text that tests of swage/text share.
namespace swage::testing_text {

std::string test_data(const std::string& name);  // path under tests/data
std::string read_text(const std::string& path);  // fails the test when the file cannot be read
std::string write_temporary(const std::string& name, const std::string& content);  // gives the path
// About `size` bytes of words, spaces, digits and characters assigned in Unicode 14: the same text
// on every machine, and the one that kit/text/make_token_goldens.py makes.
std::string mixed_text(size_t size);

}  // namespace swage::testing_text
