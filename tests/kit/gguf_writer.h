#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

// Writes small GGUF files for tests; every part can be made wrong.
namespace swage::testing_gguf {

class Writer {
 public:
  uint32_t version = 3;
  int64_t extra_tensors = 0;  // counted in the header, but not there

  static std::string number(uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * i);
    return out;
  }
  static std::string text(const std::string& value) { return number(value.size(), 8) + value; }

  void raw(const std::string& key, uint32_t type, const std::string& value) {
    keys_.push_back(text(key) + number(type, 4) + value);
  }
  void u32(const std::string& key, uint32_t value) { raw(key, 4, number(value, 4)); }
  void string(const std::string& key, const std::string& value) { raw(key, 8, text(value)); }
  void strings(const std::string& key, const std::vector<std::string>& values) {
    std::string all = number(8, 4) + number(values.size(), 8);
    for (const std::string& value : values) all += text(value);
    raw(key, 9, all);
  }
  void integers(const std::string& key, const std::vector<int32_t>& values) {
    std::string all = number(5, 4) + number(values.size(), 8);
    for (const int32_t value : values) all += number(static_cast<uint32_t>(value), 4);
    raw(key, 9, all);
  }
  // `shape` as in torch; `shift` is added to the right offset.
  void tensor(const std::string& name, const std::vector<uint64_t>& shape, uint32_t type,
              const std::string& data, int64_t shift = 0) {
    std::string info = text(name) + number(shape.size(), 4);
    for (size_t i = shape.size(); i > 0; --i) info += number(shape[i - 1], 8);
    infos_.push_back(info + number(type, 4) +
                     number(data_.size() + static_cast<uint64_t>(shift), 8));
    data_ += data;
    data_.resize((data_.size() + 31) / 32 * 32);
  }
  std::string file() const {
    std::string out = "GGUF" + number(version, 4) +
                      number(infos_.size() + static_cast<uint64_t>(extra_tensors), 8) +
                      number(keys_.size(), 8);
    for (const std::string& key : keys_) out += key;
    for (const std::string& info : infos_) out += info;
    out.resize((out.size() + 31) / 32 * 32);
    return out + data_;
  }

 private:
  std::vector<std::string> keys_, infos_;
  std::string data_;
};

}  // namespace swage::testing_gguf
