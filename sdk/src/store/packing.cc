#include "swage/store/packing.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>

namespace swage::store {
namespace {

constexpr int kCodes = 8;  // eight codes become `bits` whole bytes

// The lowest `bits` bits of every lane of `width` bits.
constexpr uint64_t lanes(int width, int bits) {
  uint64_t mask = 0;
  for (int lane = 0; lane < 64; lane += width)
    mask |= (bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1) << lane;
  return mask;
}

// Eight int8 codes to 8 * kBits bits: adding 2^(kBits-1) flips the highest bit of a code, then
// neighbours move together in pairs, fours and eights.
template <int kBits>
uint64_t squeeze(uint64_t x) {
  x = (x & lanes(8, kBits)) ^ (lanes(8, 1) << (kBits - 1));
  x = (x & lanes(16, 8)) | ((x & ~lanes(16, 8)) >> (8 - kBits));
  x = (x & lanes(32, 16)) | ((x & ~lanes(32, 16)) >> (16 - 2 * kBits));
  return (x & lanes(64, 32)) | ((x & ~lanes(64, 32)) >> (32 - 4 * kBits));
}

template <int kBits>
uint64_t spread(uint64_t x) {
  x = (x & lanes(64, 4 * kBits)) | ((x << (32 - 4 * kBits)) & ~lanes(64, 32));
  x = (x & lanes(32, 2 * kBits)) | ((x << (16 - 2 * kBits)) & ~lanes(32, 16));
  x = (x & lanes(16, kBits)) | ((x << (8 - kBits)) & ~lanes(16, 8));
  // u - 2^(kBits-1) as int8, without a borrow from byte to byte.
  return (x + lanes(8, 1) * (0x80 - (1 << (kBits - 1)))) ^ (lanes(8, 1) << 7);
}

template <int kBits>
void pack_row(const int8_t* codes, int64_t count, uint8_t* bytes, int64_t size) {
  int64_t done = 0;
  for (; done + kCodes <= count; done += kCodes, bytes += kBits, size -= kBits) {
    uint64_t x;
    std::memcpy(&x, codes + done, kCodes);
    x = squeeze<kBits>(x);
    std::memcpy(bytes, &x, kBits);
  }
  uint64_t x = 0;
  if (done < count) {
    std::memcpy(&x, codes + done, static_cast<size_t>(count - done));
    x = squeeze<kBits>(x) & ((uint64_t{1} << (kBits * (count - done))) - 1);
  }
  for (int64_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i < 8 ? x >> (8 * i) : 0);
}

template <int kBits>
void unpack_row(const uint8_t* bytes, int64_t size, int8_t* codes, int64_t count) {
  int64_t done = 0;
  for (; done + kCodes <= count; done += kCodes, bytes += kBits, size -= kBits) {
    uint64_t x = 0;
    if (size >= kCodes)  // one load, three bytes at a time would be several
      std::memcpy(&x, bytes, kCodes);
    else
      std::memcpy(&x, bytes, kBits);
    x = spread<kBits>(x & lanes(64, kCodes * kBits));
    std::memcpy(codes + done, &x, kCodes);
  }
  if (done == count) return;
  uint64_t x = 0;
  std::memcpy(&x, bytes, static_cast<size_t>(std::min<int64_t>(size, kBits)));
  x = spread<kBits>(x);
  std::memcpy(codes + done, &x, static_cast<size_t>(count - done));
}

using RowPacker = void (*)(const int8_t*, int64_t, uint8_t*, int64_t);
using RowUnpacker = void (*)(const uint8_t*, int64_t, int8_t*, int64_t);
constexpr RowPacker kPackers[] = {pack_row<2>, pack_row<3>, pack_row<4>, pack_row<5>,
                                  pack_row<6>, pack_row<7>, pack_row<8>};
constexpr RowUnpacker kUnpackers[] = {unpack_row<2>, unpack_row<3>, unpack_row<4>, unpack_row<5>,
                                      unpack_row<6>, unpack_row<7>, unpack_row<8>};

template <class Row>
void for_rows(int64_t rows, int64_t columns, Row row) {
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(columns, 1));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(r);
  });
}

}  // namespace

int64_t packed_words(int64_t count, int bits) { return (count * bits + 31) / 32; }

at::Tensor pack(const at::Tensor& codes, int bits) {
  const at::Tensor source = codes.contiguous();
  const int64_t rows = source.size(0), columns = source.size(1),
                words = packed_words(columns, bits);
  at::Tensor packed = at::empty({rows, words}, source.options().dtype(at::kInt));
  const int8_t* from = source.const_data_ptr<int8_t>();
  auto* to = static_cast<uint8_t*>(packed.mutable_data_ptr());
  for_rows(rows, columns, [&, pack_one = kPackers[bits - 2]](int64_t r) {
    pack_one(from + r * columns, columns, to + r * words * 4, words * 4);
  });
  return packed;
}

at::Tensor unpack(const at::Tensor& words, int bits, int64_t columns) {
  const at::Tensor source = words.contiguous();
  const int64_t rows = source.size(0), bytes = source.size(1) * 4;
  at::Tensor codes = at::empty({rows, columns}, source.options().dtype(at::kChar));
  const auto* from = static_cast<const uint8_t*>(source.const_data_ptr());
  int8_t* to = codes.mutable_data_ptr<int8_t>();
  for_rows(rows, columns, [&, unpack_one = kUnpackers[bits - 2]](int64_t r) {
    unpack_one(from + r * bytes, bytes, to + r * columns, columns);
  });
  return codes;
}

at::Tensor pack_reference(const at::Tensor& codes, int bits) {
  const at::Tensor source = codes.contiguous();
  const int64_t rows = source.size(0), columns = source.size(1),
                words = packed_words(columns, bits);
  at::Tensor packed = at::zeros({rows, words}, source.options().dtype(at::kInt));
  for (int64_t r = 0; r < rows; ++r) {
    const int8_t* from = source.const_data_ptr<int8_t>() + r * columns;
    int32_t* to = packed.mutable_data_ptr<int32_t>() + r * words;
    for (int64_t bit = 0; bit < columns * bits; ++bit) {
      const int code = from[bit / bits] + (1 << (bits - 1));
      if ((code >> (bit % bits) & 1) != 0)
        to[bit / 32] = static_cast<int32_t>(static_cast<uint32_t>(to[bit / 32]) | 1u << (bit % 32));
    }
  }
  return packed;
}

at::Tensor unpack_reference(const at::Tensor& words, int bits, int64_t columns) {
  const at::Tensor source = words.contiguous();
  const int64_t rows = source.size(0), length = source.size(1);
  at::Tensor codes = at::empty({rows, columns}, source.options().dtype(at::kChar));
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t* from = source.const_data_ptr<int32_t>() + r * length;
    int8_t* to = codes.mutable_data_ptr<int8_t>() + r * columns;
    for (int64_t c = 0; c < columns; ++c) {
      int code = 0;
      for (int64_t bit = c * bits; bit < (c + 1) * bits; ++bit)
        code |= static_cast<int>(static_cast<uint32_t>(from[bit / 32]) >> (bit % 32) & 1u)
                << (bit - c * bits);
      to[c] = static_cast<int8_t>(code - (1 << (bits - 1)));
    }
  }
  return codes;
}

at::Tensor pack_pairs(const at::Tensor& codes) {
  const at::Tensor halves = codes.view({codes.size(0), -1, 2});
  return halves.select(2, 0).bitwise_or(halves.select(2, 1).bitwise_left_shift(4)).contiguous();
}

at::Tensor unpack_pairs(const at::Tensor& pairs) {
  return at::stack({pairs.bitwise_and(15), pairs.bitwise_right_shift(4)}, 2)
      .view({pairs.size(0), -1});
}

}  // namespace swage::store
