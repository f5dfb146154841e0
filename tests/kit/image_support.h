#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <boost/crc.hpp>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "swage/value.h"

// The pictures and expectations that tests/data/images/make_expected.py writes.
namespace swage::test {

inline std::string image_path(const std::string& name) {
  return std::string(std::getenv("SWAGE_SOURCE_DIR")) + "/tests/data/images/" + name;
}

inline std::string file_bytes(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline const Value& expected_images() {
  static const Value value = *parse_json(file_bytes(image_path("expected.json")), "expected.json");
  return value;
}

// formula() of make_expected.py.
inline at::Tensor formula(int64_t height, int64_t width) {
  at::Tensor picture = at::empty({height, width, 3}, at::kByte);
  uint8_t* out = picture.mutable_data_ptr<uint8_t>();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        const int64_t noise = (x * 7919 + y * 104729 + c * 1299709 + x * y * 31) % 64;
        *out++ = static_cast<uint8_t>(3 * y + 5 * x + 40 * c + x * y / 7 + noise);
      }
    }
  }
  return picture;
}

// Shape and CRC-32 as make_expected.py writes them.
inline std::string digest(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  boost::crc_32_type crc;
  crc.process_bytes(flat.const_data_ptr(), flat.nbytes());
  Value::List shape;
  for (const int64_t side : tensor.sizes()) shape.push_back(side);
  return to_json(Value::Table{{"crc32", static_cast<int64_t>(crc.checksum())}, {"shape", shape}},
                 -1);
}

inline std::string digest(const Value& expectation) {
  return to_json(Value::Table{{"crc32", expectation["crc32"]}, {"shape", expectation["shape"]}},
                 -1);
}

}  // namespace swage::test
