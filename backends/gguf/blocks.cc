#include "blocks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "swage/io/gguf_header.h"
#include "swage/quant/gguf_blocks.h"
#include "swage/status.h"
#include "swage/store/integer_form.h"

namespace swage::gguf {
namespace {

constexpr char kNvfp4[] = "nvfp4";
constexpr int64_t kIntegerColumns = 32, kNvfp4Columns = 64, kNvfp4Bytes = 36;

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

// Greatest |code - zero| of a type that holds integers, and the bits of one such code.
struct IntegerType {
  const char* type;
  int bits;
};
constexpr IntegerType kIntegerTypes[] = {{"q4_0", 4}, {"q5_0", 5}, {"q8_0", 8}};

int bits_of(const std::string& type) {
  for (const IntegerType& one : kIntegerTypes)
    if (type == one.type) return one.bits;
  return 0;
}

// Codes under a zero point take one bit more once it is subtracted.
absl::StatusOr<std::string> integer_type(const Codec& codec, int64_t in) {
  SWAGE_ASSIGN_OR_RETURN(const store::IntegerForm form, store::integer_form(codec));
  if (form.float_zeros)
    return refused(
        "its blocks have no zero points in floats; use zero = \"int\", or format = "
        "\"q4_1\"");
  if (in % kIntegerColumns != 0 || form.group_width(in) % kIntegerColumns != 0)
    return refused(absl::StrCat("its blocks have ", kIntegerColumns,
                                " columns under a scale, which must divide groups (",
                                form.group_width(in), ") and rows (", in, ")"));
  const int bits = form.bits + (form.symmetric ? 0 : 1);
  for (const IntegerType& type : kIntegerTypes)
    if (bits <= type.bits) return std::string(type.type);
  return refused("asymmetric codes of 8 bits have no type; use symmetric = true or fewer bits");
}

absl::Status check_values(const Codec& codec) {
  const Value keys(codec.scheme().keys);
  if (keys.str("scale_rule", "floor") == "four-thirds")
    return refused("its scales are powers of two; use another scale_rule");
  return absl::OkStatus();
}

// Every two rows of 8 of a group are the halves of its bytes.
at::Tensor pack_nvfp4(const at::Tensor& codes, const at::Tensor& scales) {
  const int64_t out = codes.size(0), blocks = codes.size(1) / kNvfp4Columns;
  const at::Tensor halves = codes.contiguous().view({out, blocks, 4, 2, 8});
  const at::Tensor pairs =
      halves.select(3, 0).bitwise_or(halves.select(3, 1).bitwise_left_shift(4));
  return at::cat({scales.contiguous().view(at::kByte).view({out, blocks, 4}),
                  pairs.reshape({out, blocks, 32})},
                 2)
      .reshape({out, blocks * kNvfp4Bytes});
}

void unpack_nvfp4(const at::Tensor& bytes, at::Tensor* codes, at::Tensor* scales) {
  const int64_t out = bytes.size(0), blocks = bytes.size(1) / kNvfp4Bytes;
  const at::Tensor all = bytes.contiguous().view({out, blocks, kNvfp4Bytes});
  *scales = all.narrow(2, 0, 4).reshape({out, blocks * 4});
  const at::Tensor pairs = all.narrow(2, 4, 32).reshape({out, blocks, 4, 8});
  *codes = at::stack({pairs.bitwise_and(15), pairs.bitwise_right_shift(4)}, 3)
               .reshape({out, blocks * kNvfp4Columns});
}

absl::StatusOr<Blocks> nvfp4_blocks(const Result& linear) {
  Blocks blocks;
  blocks.type = kNvfp4;
  blocks.bytes = pack_nvfp4(linear.part("codes"), linear.part("scales"));
  blocks.divisor = linear.part("outer_scales").item<float>();
  blocks.as = store::dtype_name(decoded_type(linear));
  if (std::isfinite(1 / blocks.divisor) && 1 / blocks.divisor > 0) return blocks;
  return refused(absl::StrCat("the matrix is divided by ", blocks.divisor,
                              ", whose inverse is no number in fp32"));
}

// Replicated scales, codes with their zero points subtracted.
absl::StatusOr<Parts> integer_parts(const Result& linear, const std::string& type) {
  const at::Tensor& scales = linear.part("scales");
  const int64_t repeats = linear.in() / scales.size(1) / kIntegerColumns;
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor halves, store::cast_exactly(scales, at::kHalf));
  at::Tensor codes = linear.part("codes").to(at::kInt);
  if (const at::Tensor& zeros = linear.part("zeros"); zeros.defined())
    codes = codes - zeros.to(at::kInt).repeat_interleave(linear.in() / zeros.size(1), 1);
  const int limit = 1 << (bits_of(type) - 1);
  if (codes.lt(-limit).any().item<bool>() || codes.ge(limit).any().item<bool>())
    return absl::InternalError(absl::StrCat("codes beyond those of ", type));
  return Parts{{"codes", codes.to(at::kChar)}, {"scales", halves.repeat_interleave(repeats, 1)}};
}

absl::StatusOr<Result> named(const std::string& name, const Scheme& scheme, Parts parts,
                             int64_t out, int64_t in) {
  SWAGE_ASSIGN_OR_RETURN(const auto codec, make_codec(scheme));
  return Result(name, codec, out, in, std::move(parts));
}

const char* short_name(const std::string& dtype) {
  if (dtype == "float16") return "fp16";
  return dtype == "float32" ? "fp32" : "bf16";
}

absl::StatusOr<Result> integers(const std::string& name, const Blocks& blocks, Parts parts) {
  store::IntegerForm form;
  form.bits = bits_of(blocks.type);
  form.group = kIntegerColumns;
  if (form.bits == 0)
    return refused(absl::StrCat(name, ": \"swage.results\" calls ", blocks.type, " integers"));
  const at::ScalarType type = store::dtype_named(blocks.as);
  if (type == at::ScalarType::Undefined)
    return refused(absl::StrCat(name, ": \"swage.results\" names the dtype \"", blocks.as, "\""));
  SWAGE_ASSIGN_OR_RETURN(parts["scales"], store::cast_exactly(part(parts, "scales"), type));
  SWAGE_ASSIGN_OR_RETURN(const auto codec, store::integer_codec(form));
  const at::Tensor codes = part(parts, "codes");
  return Result(name, codec, codes.size(0), codes.size(1), std::move(parts));
}

}  // namespace

absl::StatusOr<std::string> block_type(const LinearSummary& linear) {
  const Codec& codec = *linear.weight;
  const std::string& format = codec.format();
  if (linear.activation)
    return refused("llama.cpp rounds inputs as it likes; give a scheme for weights alone");
  if (format == "int") {
    if (store::scale_type(linear) == at::kFloat)
      return refused("its scales are fp16; use scale_dtype = \"fp16\"");
    return integer_type(codec, linear.in);
  }
  SWAGE_RETURN_IF_ERROR(check_values(codec));
  const int64_t columns = format == kNvfp4 ? kNvfp4Columns : quant::gguf_format(format).columns;
  if (columns == 0)
    return refused(
        absl::StrCat("it has no blocks for \"", format,
                     "\"; use q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, q2_k to q6_k, mxfp4, "
                     "nvfp4 or integers with scale_dtype = \"fp16\""));
  if (linear.in % columns != 0)
    return refused(
        absl::StrCat("a block holds ", columns, " columns, which does not divide ", linear.in));
  return format;
}

uint32_t type_number(const std::string& type) {
  return type == kNvfp4 ? io::kGgufNvfp4 : quant::gguf_format(type).type;
}

absl::StatusOr<Blocks> to_blocks(const Result& linear) {
  const std::string& format = linear.codec()->format();
  if (format == kNvfp4) return nvfp4_blocks(linear);
  Blocks blocks;
  blocks.type = format;
  Parts parts = linear.parts();
  if (format == "int") {
    SWAGE_ASSIGN_OR_RETURN(blocks.type, integer_type(*linear.codec(), linear.in()));
    SWAGE_ASSIGN_OR_RETURN(parts, integer_parts(linear, blocks.type));
    blocks.as = store::dtype_name(decoded_type(linear));
  }
  SWAGE_ASSIGN_OR_RETURN(blocks.bytes, quant::pack_gguf(parts, blocks.type));
  return blocks;
}

absl::StatusOr<Result> from_blocks(const std::string& name, const Blocks& blocks) {
  if (blocks.type == kNvfp4) {
    Parts parts;
    at::Tensor scales;
    unpack_nvfp4(blocks.bytes, &parts["codes"], &scales);
    parts["scales"] = scales.view(at::kFloat8_e4m3fn);
    parts["outer_scales"] = at::full({1, 1}, blocks.divisor, at::kFloat);
    const at::Tensor codes = parts["codes"];
    return named(name, {kNvfp4, {{"decoded", short_name(blocks.as)}}}, std::move(parts),
                 codes.size(0), codes.size(1));
  }
  SWAGE_ASSIGN_OR_RETURN(Parts parts, quant::unpack_gguf(blocks.bytes, blocks.type));
  if (!blocks.as.empty()) return integers(name, blocks, std::move(parts));
  const at::Tensor codes = part(parts, "codes");
  return named(name, {blocks.type, {}}, std::move(parts), codes.size(0), codes.size(1));
}

absl::StatusOr<Result> from_nvfp4(const std::string& name, const at::Tensor& bytes, float factor) {
  at::Tensor codes, scales;
  unpack_nvfp4(bytes, &codes, &scales);
  Parts parts{{"codes", codes},
              {"scales", scales.view(at::kFloat8_e4m3fn)},
              {"outer_scales", at::ones({1, 1}, at::kFloat)}};
  SWAGE_ASSIGN_OR_RETURN(
      const Result blocks,
      named(name, {kNvfp4, {{"decoded", "fp32"}}}, std::move(parts), codes.size(0), codes.size(1)));
  SWAGE_RETURN_IF_ERROR(validate(blocks));
  return dense_result(name, swage::decode(blocks) * factor);
}

}  // namespace swage::gguf
