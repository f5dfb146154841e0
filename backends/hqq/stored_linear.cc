#include "stored_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "halves.h"
#include "swage/status.h"
#include "swage/store/integer_form.h"

namespace swage::hqq {
namespace {

using store::IntegerForm;
using Module = store::StoredModule;

constexpr char kCodes[] = "W_q", kScale[] = "scale", kZero[] = "zero", kShape[] = "shape";
// What the quantizer of HQQ was told; readers ask for it.
constexpr const char* kFlags[] = {"channel_wise", "optimize", "round_zero", "stores_quant_config",
                                  "encoded_state_dict"};
// Variants that this form may have, 0 in what is written and read here.
constexpr std::pair<const char*, const char*> kVariants[] = {
    {"quant_scale", "scales in floats (quant_scale 0)"},
    {"quant_zero", "zero points in floats (quant_zero 0)"},
    {"view_as_float", "codes as integers (view_as_float 0)"},
    {"offload_meta", "scale and zero apart (offload_meta 0)"}};
constexpr int64_t kGreatestText = 64;

int64_t half_of(int64_t bits) { return int64_t{1} << (bits - 1); }

at::Tensor text_tensor(const std::string& text) {
  const auto* const first = reinterpret_cast<const uint8_t*>(text.data());
  return at::tensor(at::ArrayRef<uint8_t>(first, text.size())).to(at::kByte);
}

std::string torch_name(at::ScalarType type) {
  return absl::StrCat("torch.", type == at::kByte  ? "uint8"
                                : type == at::kInt ? "int32"
                                                   : store::dtype_name(type));
}

// Zero points of codes that begin at 0, in a dtype that holds them: integers and half of the codes
// fit every one.
absl::StatusOr<at::Tensor> unsigned_zeros(const Result& linear, const IntegerForm& form) {
  const at::Tensor& scales = linear.part("scales");
  const double half = static_cast<double>(half_of(form.bits));
  if (form.symmetric) return at::full_like(scales, half);
  const at::Tensor exact = linear.part("zeros").to(at::kDouble) + half;
  const at::Tensor stored = exact.to(form.float_zeros ? at::kFloat : scales.scalar_type());
  const at::Tensor other = stored.to(at::kDouble).ne(exact);
  if (!other.any().item<bool>()) return stored;
  return absl::InvalidArgumentError(absl::StrCat(
      "the zero point ", exact.masked_select(other)[0].item<double>(), " is no number of ",
      store::dtype_name(stored.scalar_type()), "; write zero = \"int\" into the weight scheme"));
}

// --- reading ---

struct Reading {
  const Module& module;
  int64_t bits = 0, group = 0, axis = 0, out = 0, in = 0, rows = 0;
  const Packing* packing = nullptr;
  at::Tensor codes{}, scale{}, zero{};

  absl::StatusOr<int64_t> number(const char* part) const {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor value, module.read(part, {at::kInt}, {1}));
    return value.item<int32_t>();
  }

  absl::StatusOr<std::string> text(const char* part) const {
    SWAGE_ASSIGN_OR_RETURN(const Module::Shape shape, module.shape(part, 1));
    if (shape[0] > kGreatestText)
      return module.wrong(part, absl::StrCat(shape[0], " bytes"), "a short text");
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor bytes, module.read(part, {at::kByte}, shape));
    const at::Tensor whole = bytes.contiguous();
    return std::string(reinterpret_cast<const char*>(whole.const_data_ptr<uint8_t>()),
                       static_cast<size_t>(shape[0]));
  }

  absl::Status words() {
    for (const char* part : kFlags) {
      if (module.has(part)) SWAGE_RETURN_IF_ERROR(module.read(part, {at::kByte}, {1}).status());
    }
    for (const auto& [part, expected] : kVariants) {
      if (!module.has(part)) continue;
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor value, module.read(part, {at::kByte}, {1}));
      if (value.item<uint8_t>() != 0) return module.wrong(part, "1", expected);
    }
    for (const char* part : {"compute_dtype", "unpack_view_dtype"}) {
      if (module.has(part)) SWAGE_RETURN_IF_ERROR(text(part).status());
    }
    return absl::OkStatus();
  }

  absl::Status sizes() {
    SWAGE_ASSIGN_OR_RETURN(bits, number("nbits"));
    packing = packing_of(bits);
    if (packing == nullptr) return module.wrong("nbits", absl::StrCat(bits), "2, 3, 4, 5, 6 or 8");
    if (module.has("packing")) {
      SWAGE_ASSIGN_OR_RETURN(const std::string name, text("packing"));
      if (name != packing->name)
        return module.wrong("packing", absl::StrCat("\"", name, "\""),
                            absl::StrCat("\"", packing->name, "\" of ", bits, " bits"));
    }
    SWAGE_ASSIGN_OR_RETURN(axis, number("axis"));
    if (axis != 0 && axis != 1) return module.wrong("axis", absl::StrCat(axis), "0 or 1");
    SWAGE_ASSIGN_OR_RETURN(group, number("group_size"));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor shape, module.read(kShape, {at::kLong}, {2}));
    out = shape[0].item<int64_t>();
    in = shape[1].item<int64_t>();
    if (out < 1 || in < 1 || out > Module::kGreatestSide / in)
      return module.wrong(kShape, absl::StrCat("[", out, ", ", in, "]"), "rows and columns");
    if (group < 1 || out * in % group != 0)
      return module.wrong("group_size", absl::StrCat(group),
                          absl::StrCat("a divisor of ", out, " x ", in));
    rows = out * in / group;
    return absl::OkStatus();
  }

  absl::Status values() {
    // Groups are rows where axis is 1, columns where it is 0.
    const int64_t height = axis == 1 ? rows : group, width = axis == 1 ? group : rows;
    const Module::Shape levels = axis == 1 ? Module::Shape{rows, 1} : Module::Shape{1, rows};
    SWAGE_ASSIGN_OR_RETURN(
        const at::Tensor stored,
        module.read(kCodes, {packing->type}, {packed_rows(height, *packing), width}));
    if (bits != 3 && height % packing->parts != 0)
      return module.wrong(kCodes, absl::StrCat("of ", height, " rows of codes"),
                          absl::StrCat("a multiple of ", packing->parts));
    codes = unpack_parts(stored, *packing, height);
    SWAGE_ASSIGN_OR_RETURN(scale, module.read(kScale, store::float_types(), levels));
    SWAGE_ASSIGN_OR_RETURN(zero, module.read(kZero, store::float_types(), levels));
    return absl::OkStatus();
  }

  Result dense(at::ScalarType type) const {
    const at::Tensor weight = (codes.to(at::kFloat) - zero.to(at::kFloat)) * scale.to(at::kFloat);
    return dense_result(module.name(), weight.reshape({out, in}).to(type));
  }
};

// Zero points of codes in the middle, where the dtype holds them.
std::optional<at::Tensor> signed_zeros(const at::Tensor& zero, double half, at::ScalarType type) {
  const at::Tensor exact = zero.to(at::kDouble) - half;
  constexpr double kLeast = -128, kGreatest = 127;  // of int8, beyond which a cast says nothing
  if (type == at::kChar && !(exact.ge(kLeast) & exact.le(kGreatest)).all().item<bool>())
    return std::nullopt;
  at::Tensor stored = exact.to(type);
  if (stored.to(at::kDouble).ne(exact).any().item<bool>()) return std::nullopt;
  return stored;
}

}  // namespace

absl::Status fits(const LinearSummary& linear) {
  const auto refused = [](const auto&... why) {
    return absl::InvalidArgumentError(absl::StrCat(why...));
  };
  SWAGE_ASSIGN_OR_RETURN(const IntegerForm form, store::integer_form(*linear.weight));
  if (linear.activation) return refused("it leaves inputs in floats");
  const Packing* const packing = packing_of(form.bits);
  if (packing == nullptr) return refused("it has 2, 3, 4, 5, 6 or 8 bits");
  const int64_t group = form.group_width(linear.in);
  if (linear.in % group != 0)
    return refused("its groups have one size, and ", group, " does not divide ", linear.in);
  const int64_t rows = linear.out * (linear.in / group);
  if (form.bits != 3 && rows % packing->parts != 0)
    return refused("it packs ", packing->parts, " groups of ", form.bits,
                   " bits together, and there are ", rows, "; use another group or 8 bits");
  return absl::OkStatus();
}

absl::Status write_linear(const Result& linear, TensorSink& sink) {
  SWAGE_ASSIGN_OR_RETURN(const IntegerForm form, store::integer_form(*linear.codec()));
  const Packing& packing = *packing_of(form.bits);
  const int64_t group = form.group_width(linear.in());
  const at::Tensor& scales = linear.part("scales");
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor zeros, unsigned_zeros(linear, form));
  const at::Tensor codes =
      linear.part("codes").to(at::kShort).add(half_of(form.bits)).to(at::kByte).view({-1, group});
  const at::Tensor one = at::full({}, 1, at::kByte), none = at::zeros({}, at::kByte);
  const auto number = [](int64_t value) { return at::full({}, value, at::kInt); };
  const std::pair<const char*, at::Tensor> parts[] = {
      {kCodes, pack_parts(codes, packing)},
      {kScale, scales.reshape({-1, 1})},
      {kZero, zeros.reshape({-1, 1})},
      {kShape, at::tensor(at::ArrayRef<int64_t>{linear.out(), linear.in()}, at::kLong)},
      {"nbits", number(form.bits)},
      {"group_size", number(group)},
      {"axis", number(1)},
      {"packing", text_tensor(packing.name)},
      {"unpack_view_dtype", text_tensor(torch_name(packing.type))},
      {"compute_dtype", text_tensor(torch_name(zeros.scalar_type()))},
      {"channel_wise", one},
      {"optimize", none},
      {"round_zero", form.float_zeros ? none : one},
      {"quant_scale", none},
      {"quant_zero", none},
      {"view_as_float", none},
      {"offload_meta", none},
      {"stores_quant_config", one},
      {"encoded_state_dict", one}};
  for (const auto& [part, tensor] : parts)
    SWAGE_RETURN_IF_ERROR(sink.put(absl::StrCat(linear.name(), ".", part), tensor));
  return absl::OkStatus();
}

absl::StatusOr<Result> read_linear(const Module& module, const Value& note) {
  Reading reading{module};
  SWAGE_RETURN_IF_ERROR(reading.words());
  SWAGE_RETURN_IF_ERROR(reading.sizes());
  SWAGE_RETURN_IF_ERROR(reading.values());
  if (reading.axis == 0 || reading.in % reading.group != 0) return reading.dense(at::kFloat);
  const bool own = note.table() != nullptr;
  IntegerForm form;
  form.bits = static_cast<int>(reading.bits);
  form.group = own && note.flag("channel", false) ? 0 : reading.group;
  form.symmetric = own && note.flag("symmetric", false);
  form.float_zeros = !form.symmetric && (!own || note.flag("float_zeros", false));
  if (form.group_width(reading.in) != reading.group)
    return module.wrong("group_size", absl::StrCat(reading.group), "a whole row, as is noted");
  const double half = static_cast<double>(half_of(form.bits));
  const Module::Shape levels = {reading.out, reading.in / reading.group};
  // HQQ's own scales and zero points are taken as they are, whatever they are cast to beside.
  const at::Tensor scale = own ? reading.scale : reading.scale.to(at::kFloat);
  Parts parts = {{"codes", reading.codes.to(at::kShort)
                               .sub(half_of(form.bits))
                               .to(at::kChar)
                               .view({reading.out, reading.in})},
                 {"scales", scale.view(levels)}};
  const at::ScalarType zero_type = form.float_zeros ? scale.scalar_type() : at::kChar;
  const auto stored = signed_zeros(reading.zero, half, zero_type);
  if (!stored) return reading.dense(scale.scalar_type());
  if (stored->ne(0).any().item<bool>()) form.symmetric = false;  // whatever is noted
  if (!form.symmetric) parts["zeros"] = stored->view(levels);
  SWAGE_ASSIGN_OR_RETURN(auto codec, store::integer_codec(form));
  return Result(module.name(), std::move(codec), reading.out, reading.in, std::move(parts));
}

Value::Table note_of(const LinearSummary& linear) {
  const IntegerForm form = *store::integer_form(*linear.weight);
  return {{"channel", form.group == 0},
          {"symmetric", form.symmetric},
          {"float_zeros", form.float_zeros}};
}

}  // namespace swage::hqq
