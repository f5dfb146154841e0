#include "halves.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

namespace swage::hqq {
namespace {

constexpr Packing kByte = {"8bit_u8", at::kByte, 8, 1}, kHalves = {"4bit_u8", at::kByte, 4, 2},
                  kQuarters = {"2bit_u8", at::kByte, 2, 4}, kTenths = {"3bit_32", at::kInt, 3, 10};

}  // namespace

const Packing* packing_of(int64_t bits) {
  switch (bits) {
    case 2:
      return &kQuarters;
    case 3:
      return &kTenths;
    case 4:
      return &kHalves;
    case 5:
    case 6:
    case 8:
      return &kByte;
    default:
      return nullptr;
  }
}

int64_t packed_rows(int64_t rows, const Packing& packing) {
  return (rows + packing.parts - 1) / packing.parts;
}

at::Tensor pack_parts(const at::Tensor& codes, const Packing& packing) {
  const int64_t step = packed_rows(codes.size(0), packing),
                missing = step * packing.parts - codes.size(0);
  at::Tensor whole = codes.to(packing.type);
  if (missing > 0) whole = at::cat({whole, at::zeros({missing, codes.size(1)}, whole.options())});
  at::Tensor words = at::zeros({step, codes.size(1)}, whole.options());
  for (int64_t part = 0; part < packing.parts; ++part) {
    const int64_t shift = packing.width * (packing.parts - 1 - part);
    words.bitwise_or_(whole.narrow(0, part * step, step).bitwise_left_shift(shift));
  }
  return words;
}

at::Tensor unpack_parts(const at::Tensor& words, const Packing& packing, int64_t rows) {
  std::vector<at::Tensor> parts;
  for (int64_t part = 0; part < packing.parts; ++part) {
    const int64_t shift = packing.width * (packing.parts - 1 - part);
    parts.push_back(
        words.bitwise_right_shift(shift).bitwise_and((1 << packing.width) - 1).to(at::kByte));
  }
  return at::cat(parts).narrow(0, 0, rows);
}

}  // namespace swage::hqq
