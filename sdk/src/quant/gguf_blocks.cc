// Where the bits of a block lie, said once a type for both directions.
#include "swage/quant/gguf_blocks.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "swage/part_check.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

// `bits` bits of a number, from its bit `from` on, lie in a byte from its bit `shift` on.
struct Field {
  int byte, shift, bits, from;
};

// One part of a block: numbers of equal bits; stored is value + bias.
struct Piece {
  const char* name;
  at::ScalarType type;
  int bits, bias;
  std::vector<std::vector<Field>> numbers;  // the fields of each
};

struct Layout {
  const char* name;
  GgufFormat format;
  std::vector<Piece> pieces;
};

constexpr char kCodes[] = "codes", kScales[] = "scales", kOffsets[] = "offsets", kMins[] = "mins",
               kOuter[] = "outer_scales", kOuterMins[] = "outer_mins";

template <class FieldsOf>
Piece piece(const char* name, at::ScalarType type, int bits, int bias, int count,
            const FieldsOf& fields_of) {
  Piece all{name, type, bits, bias, {}};
  for (int i = 0; i < count; ++i) all.numbers.push_back(fields_of(i));
  return all;
}

Piece half_at(const char* name, int byte) {
  return piece(name, at::kHalf, 16, 0, 1, [=](int) {
    return std::vector<Field>{{byte, 0, 8, 0}, {byte + 1, 0, 8, 8}};
  });
}

Piece bytes_at(const char* name, at::ScalarType type, int byte, int count) {
  return piece(name, type, 8, 0, count, [=](int i) {
    return std::vector<Field>{{byte + i, 0, 8, 0}};
  });
}

// 32 columns: byte j holds the low four bits of columns j and j + 16, `high` (or -1) the fifth
// ones.
Piece nibbles_at(int byte, int bias, int high, at::ScalarType type = at::kChar) {
  return piece(kCodes, type, high < 0 ? 4 : 5, bias, 32, [=](int e) {
    std::vector<Field> fields{{byte + e % 16, e < 16 ? 0 : 4, 4, 0}};
    if (high >= 0) fields.push_back({high + e / 8, e % 8, 1, 4});
    return fields;
  });
}

// 256 columns, of which 32 share bytes: a pair of bits each in 64 bytes.
Field pair_of(int byte, int e, int from) {
  return {byte + e / 128 * 32 + e % 32, e % 128 / 32 * 2, 2, from};
}

// 256 columns: 64 of them in the halves of 32 bytes, and a bit each in 32 bytes for fifth ones.
Piece k_nibbles_at(int byte, int high) {
  return piece(kCodes, at::kChar, high < 0 ? 4 : 5, 0, 256, [=](int e) {
    std::vector<Field> fields{{byte + e / 64 * 32 + e % 32, e % 64 < 32 ? 0 : 4, 4, 0}};
    if (high >= 0) fields.push_back({high + e % 32, e / 32, 1, 4});
    return fields;
  });
}

// Eight scales and minimums of six bits in twelve bytes (Q4_K, Q5_K).
Piece six_bits_at(const char* name, int byte, bool mins) {
  return piece(name, at::kByte, 6, 0, 8, [=](int j) {
    if (j < 4) return std::vector<Field>{{byte + j + (mins ? 4 : 0), 0, 6, 0}};
    return std::vector<Field>{{byte + j + 4, mins ? 4 : 0, 4, 0},
                              {byte + j - (mins ? 0 : 4), 6, 2, 4}};
  });
}

// Sixteen scales of six bits in twelve bytes (Q3_K).
Piece q3_scales_at(int byte) {
  return piece(kScales, at::kChar, 6, 32, 16, [=](int j) {
    return std::vector<Field>{{byte + j % 8, j < 8 ? 0 : 4, 4, 0},
                              {byte + 8 + j % 4, j / 4 * 2, 2, 4}};
  });
}

Piece q2_codes_at(int byte) {
  return piece(kCodes, at::kChar, 2, 0, 256,
               [=](int e) { return std::vector<Field>{pair_of(byte, e, 0)}; });
}

Piece q3_codes_at(int high, int byte) {
  return piece(kCodes, at::kChar, 3, 4, 256, [=](int e) {
    return std::vector<Field>{pair_of(byte, e, 0), {high + e % 32, e / 32, 1, 2}};
  });
}

Piece q6_codes_at(int low, int high) {
  return piece(kCodes, at::kChar, 6, 32, 256, [=](int e) {
    const int t = e % 128 / 32;
    return std::vector<Field>{{low + e / 128 * 64 + e % 32 + t % 2 * 32, t < 2 ? 0 : 4, 4, 0},
                              pair_of(high, e, 4)};
  });
}

Piece q2_levels_at(const char* name, int shift) {
  return piece(name, at::kByte, 4, 0, 16, [=](int j) {
    return std::vector<Field>{{j, shift, 4, 0}};
  });
}

const std::vector<Layout>& layouts() {
  static const auto* const all = new std::vector<Layout>{
      {"q4_0", {32, 18, 2}, {half_at(kScales, 0), nibbles_at(2, 8, -1)}},
      {"q4_1", {32, 20, 3}, {half_at(kScales, 0), half_at(kOffsets, 2), nibbles_at(4, 0, -1)}},
      {"q5_0", {32, 22, 6}, {half_at(kScales, 0), nibbles_at(6, 16, 2)}},
      {"q5_1", {32, 24, 7}, {half_at(kScales, 0), half_at(kOffsets, 2), nibbles_at(8, 0, 4)}},
      {"q8_0", {32, 34, 8}, {half_at(kScales, 0), bytes_at(kCodes, at::kChar, 2, 32)}},
      {"q2_k",
       {256, 84, 10},
       {q2_levels_at(kScales, 0), q2_levels_at(kMins, 4), q2_codes_at(16), half_at(kOuter, 80),
        half_at(kOuterMins, 82)}},
      {"q3_k", {256, 110, 11}, {q3_codes_at(0, 32), q3_scales_at(96), half_at(kOuter, 108)}},
      {"q4_k",
       {256, 144, 12},
       {half_at(kOuter, 0), half_at(kOuterMins, 2), six_bits_at(kScales, 4, false),
        six_bits_at(kMins, 4, true), k_nibbles_at(16, -1)}},
      {"q5_k",
       {256, 176, 13},
       {half_at(kOuter, 0), half_at(kOuterMins, 2), six_bits_at(kScales, 4, false),
        six_bits_at(kMins, 4, true), k_nibbles_at(48, 16)}},
      {"q6_k",
       {256, 210, 14},
       {q6_codes_at(0, 128), bytes_at(kScales, at::kChar, 192, 16), half_at(kOuter, 208)}},
      {"iq4_nl", {32, 18, 20}, {half_at(kScales, 0), nibbles_at(2, 0, -1, at::kByte)}},
      {"mxfp4",
       {32, 17, 39},
       {bytes_at(kScales, at::kByte, 0, 1), nibbles_at(1, 0, -1, at::kByte)}}};
  return *all;
}

const Layout* layout_of(std::string_view format) {
  for (const Layout& layout : layouts())
    if (layout.name == format) return &layout;
  return nullptr;
}

absl::Status unknown(std::string_view format) {
  return absl::InvalidArgumentError(
      absl::StrCat("GGUF has no blocks for the format \"", std::string(format), "\""));
}

int64_t count_of(const Piece& piece) { return static_cast<int64_t>(piece.numbers.size()); }

template <class T>
void put(const T* values, const Piece& piece, uint8_t* block) {
  for (const std::vector<Field>& fields : piece.numbers) {
    const uint32_t number = static_cast<uint32_t>(static_cast<int>(*values++) + piece.bias);
    for (const Field& field : fields) {
      const uint32_t bits = (number >> field.from) & ((1u << field.bits) - 1);
      block[field.byte] = static_cast<uint8_t>(block[field.byte] | bits << field.shift);
    }
  }
}

template <class T>
void take(const uint8_t* block, const Piece& piece, T* values) {
  for (const std::vector<Field>& fields : piece.numbers) {
    uint32_t number = 0;
    for (const Field& field : fields)
      number |= ((block[field.byte] >> field.shift) & ((1u << field.bits) - 1)) << field.from;
    *values++ = static_cast<T>(static_cast<int>(number) - piece.bias);
  }
}

// Calls visit with the tensor's elements as integers: halves by their bits.
template <class Visit>
void with_integers(void* data, at::ScalarType type, const Visit& visit) {
  if (type == at::kHalf) return visit(static_cast<uint16_t*>(data));
  if (type == at::kChar) return visit(static_cast<int8_t*>(data));
  visit(static_cast<uint8_t*>(data));
}

absl::Status check_piece(const Parts& parts, const Piece& piece, int64_t rows, int64_t blocks) {
  const PartCheck check(parts);
  SWAGE_RETURN_IF_ERROR(check.shape(piece.name, {rows, blocks * count_of(piece)}));
  SWAGE_RETURN_IF_ERROR(check.type(piece.name, piece.type));
  if (piece.type == at::kHalf || piece.bits == 8) return absl::OkStatus();
  return check.within(piece.name, -piece.bias, (1 << piece.bits) - 1 - piece.bias);
}

template <class Visit>
void each_row(int64_t rows, int64_t bytes, const Visit& visit) {
  at::parallel_for(0, rows, std::max<int64_t>(1, 65536 / bytes), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) visit(r);
  });
}

}  // namespace

GgufFormat gguf_format(std::string_view format) {
  const Layout* const layout = layout_of(format);
  return layout ? layout->format : GgufFormat{};
}

absl::StatusOr<at::Tensor> pack_gguf(const Parts& parts, std::string_view format) {
  const Layout* const layout = layout_of(format);
  if (layout == nullptr) return unknown(format);
  const at::Tensor& codes = part(parts, kCodes);
  if (!codes.defined() || codes.dim() != 2 || codes.numel() == 0 ||
      codes.size(1) % layout->format.columns != 0) {
    return absl::InvalidArgumentError(absl::StrCat("codes for ", layout->name,
                                                   " need rows of a multiple of ",
                                                   layout->format.columns, " columns"));
  }
  const int64_t rows = codes.size(0), blocks = codes.size(1) / layout->format.columns;
  const int64_t block_bytes = layout->format.bytes;
  at::Tensor bytes = at::zeros({rows, blocks * block_bytes}, at::TensorOptions(at::kByte));
  uint8_t* const out = bytes.mutable_data_ptr<uint8_t>();
  for (const Piece& piece : layout->pieces) {
    SWAGE_RETURN_IF_ERROR(check_piece(parts, piece, rows, blocks));
    const at::Tensor values = part(parts, piece.name).cpu().contiguous();
    with_integers(const_cast<void*>(values.const_data_ptr()), piece.type, [&](const auto* from) {
      each_row(rows, blocks * block_bytes, [&](int64_t r) {
        for (int64_t b = r * blocks; b < (r + 1) * blocks; ++b)
          put(from + b * count_of(piece), piece, out + b * block_bytes);
      });
    });
  }
  return bytes;
}

absl::StatusOr<Parts> unpack_gguf(const at::Tensor& bytes, std::string_view format) {
  const Layout* const layout = layout_of(format);
  if (layout == nullptr) return unknown(format);
  const int64_t block_bytes = layout->format.bytes;
  if (bytes.dim() != 2 || bytes.scalar_type() != at::kByte || bytes.numel() == 0 ||
      bytes.size(1) % block_bytes != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        layout->name, " is read from uint8 rows of a multiple of ", block_bytes, " bytes"));
  }
  const at::Tensor source = bytes.cpu().contiguous();
  const uint8_t* const in = source.const_data_ptr<uint8_t>();
  const int64_t rows = source.size(0), blocks = source.size(1) / block_bytes;
  Parts parts;
  for (const Piece& piece : layout->pieces) {
    at::Tensor values = at::empty({rows, blocks * count_of(piece)}, at::TensorOptions(piece.type));
    with_integers(values.mutable_data_ptr(), piece.type, [&](auto* to) {
      each_row(rows, source.size(1), [&](int64_t r) {
        for (int64_t b = r * blocks; b < (r + 1) * blocks; ++b)
          take(in + b * block_bytes, piece, to + b * count_of(piece));
      });
    });
    parts.emplace(piece.name, std::move(values));
  }
  return parts;
}

}  // namespace swage::quant
