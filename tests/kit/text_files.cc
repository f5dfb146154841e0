#include "tests/kit/text_files.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

namespace swage::testing_text {
namespace {

std::string utf8(uint32_t c) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0 | c >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | c >> 18), tail(12), tail(6), tail(0)};
}

std::vector<uint32_t> assigned_points() {
  std::istringstream lines(read_text(test_data("text/assigned.txt")));
  std::string line;
  std::vector<uint32_t> points;
  while (std::getline(lines, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    uint32_t low = 0, high = 0;
    fields >> std::hex >> low >> high;
    for (uint32_t c = low; c <= high; ++c) points.push_back(c);
  }
  return points;
}

class Generator {
 public:
  std::string part() {
    const uint64_t kind = draw(8), count = draw(9) + 1;
    if (kind == 4) return kBits[draw(std::size(kBits))];
    std::string out;
    if (kind == 5) out = std::string(" ") + static_cast<char>('A' + draw(26));
    const uint64_t first = kind == 6 ? draw(points_.size() - 64) : 0;
    for (uint64_t i = 0; i < count; ++i) out += character(kind, first);
    return out;
  }

 private:
  std::string character(uint64_t kind, uint64_t first) {
    switch (kind) {
      case 0:
        return {static_cast<char>('a' + draw(26))};
      case 1:
        return {" \n\t "[draw(4)]};
      case 2:
        return {static_cast<char>('0' + draw(10))};
      case 3:
        return {static_cast<char>('!' + draw(15))};
      case 5:
        return {"etaoinshr"[draw(9)]};
      case 6:
        return utf8(points_[first + draw(64)]);
      default:
        return utf8(points_[draw(points_.size())]);
    }
  }
  uint64_t draw(uint64_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % n;
  }

  static constexpr const char* kBits[] = {"'s",     "'LL",  " 'd",     "n't",
                                          "<s>",    "</s>", "e\u0301", "\u1100\u1161\u11a8",
                                          "\u2581", "\r\n", "\u00a0",  " \u3000"};
  const std::vector<uint32_t> points_ = assigned_points();
  uint64_t state_ = 42;
};

}  // namespace

std::string test_data(const std::string& name) {
  const char* root = std::getenv("SWAGE_SOURCE_DIR");
  return std::string(root == nullptr ? "." : root) + "/tests/data/" + name;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << "cannot read " << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string write_temporary(const std::string& name, const std::string& content) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "swage_text";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / name, std::ios::binary) << content;
  return folder / name;
}

std::string mixed_text(size_t size) {
  Generator generator;
  std::string text;
  while (text.size() < size) text += generator.part();
  return text;
}

std::string digest(const std::vector<int64_t>& ids) {
  uint64_t value = 0xCBF29CE484222325;
  for (const int64_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8)
      value = (value ^ (id >> shift & 0xFF)) * 0x100000001B3;
  }
  std::ostringstream out;
  out << std::hex;
  out.width(16);
  out.fill('0');
  out << value;
  return out.str();
}

Value read_json(const std::string& path) {
  auto value = parse_json(read_text(path), path);
  EXPECT_TRUE(value.ok()) << value.status();
  return value.ok() ? *value : Value();
}

std::vector<int64_t> integers(const Value& list) {
  std::vector<int64_t> result;
  for (const Value& item : *list.list()) result.push_back(*item.integer());
  return result;
}

}  // namespace swage::testing_text
