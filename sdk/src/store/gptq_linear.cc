#include "swage/store/gptq_linear.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "swage/status.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/packing.h"

namespace swage::store {
namespace {

constexpr int kWordBits = 32;

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

// Codes of `bits` that fill whole words.
int64_t whole_codes(int bits) {
  int64_t codes = kWordBits;
  for (int shared = bits; shared % 2 == 0; shared /= 2) codes /= 2;
  return codes;
}

// A one in every field.
at::Tensor ones_of(int bits, int64_t count) {
  return pack(at::zeros({1, count}, at::kChar) + (1 - (1 << (bits - 1))), bits);
}

// Zero points of the first format. A zero point of zero lies there as GPTQModel writes it: where
// fields fill words it takes one from whole words, which borrows from the neighbour, else from each
// field.
at::Tensor add_one(const at::Tensor& words, int bits, int64_t out) {
  if (kWordBits % bits == 0) return unpack(words.add(ones_of(bits, out)), bits, out);
  const int half = 1 << (bits - 1);
  return unpack(words, bits, out).add(half + 1).bitwise_and(2 * half - 1).sub(half);
}

// What is read of one linear.
struct Reading {
  const StoredModule& module;
  const GptqForm& form;
  int64_t out = 0, in = 0;
  at::Tensor codes, zeros, scales;

  int bits() const { return form.integers.bits; }
  int64_t width() const { return form.integers.group_width(in); }
  int64_t groups() const { return (in + width() - 1) / width(); }

  absl::Status tensors(at::ScalarType scale_type) {
    SWAGE_ASSIGN_OR_RETURN(const StoredModule::Shape shape, module.shape("qweight", 2));
    out = shape[1];
    in = shape[0] * kWordBits / bits();
    if (shape[0] * kWordBits % bits() != 0)
      return module.wrong("qweight", absl::StrCat(shape[0], " rows"),
                          absl::StrCat("whole codes of ", bits(), " bits"));
    if (out % whole_codes(bits()) != 0)
      return module.wrong("qweight", absl::StrCat(out, " columns"),
                          absl::StrCat("a multiple of ", whole_codes(bits())));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor words, module.read("qweight", {at::kInt}, shape));
    codes = unpack(words.t(), bits(), in);
    SWAGE_ASSIGN_OR_RETURN(
        const at::Tensor packed,
        module.read("qzeros", {at::kInt}, {groups(), packed_words(out, bits())}));
    const at::Tensor points =
        form.zeros_less_one ? add_one(packed, bits(), out) : unpack(packed, bits(), out);
    zeros = points.t().contiguous();
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored,
                           module.read("scales", float_types(), {groups(), out}));
    scales = stored.t().contiguous();
    if (scale_type == at::ScalarType::Undefined) return absl::OkStatus();
    auto cast = cast_exactly(scales, scale_type);
    if (!cast.ok())
      return module.wrong("scales", "of other values", absl::StrCat(dtype_name(scale_type), "s"));
    scales = *std::move(cast);
    return absl::OkStatus();
  }

  // The group of each column; undefined where they follow each other.
  absl::StatusOr<at::Tensor> scattered() const {
    if (!module.has("g_idx")) return at::Tensor();
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored, module.read("g_idx", {at::kInt}, {in}));
    if (stored.lt(0).logical_or(stored.ge(groups())).any().item<bool>())
      return module.wrong("g_idx", "a group that is not there",
                          absl::StrCat("0 to ", groups() - 1));
    const at::Tensor plain =
        at::arange(in, stored.options().dtype(at::kLong)).floor_divide(width());
    const at::Tensor groups_of = stored.to(at::kLong);
    return at::equal(groups_of, plain) ? at::Tensor() : groups_of;
  }

  // Groups that lie in one piece each, in another order.
  bool put_in_order(const at::Tensor& groups_of) {
    if (in % width() != 0) return false;
    const at::Tensor pieces = groups_of.view({groups(), width()});
    const at::Tensor order = pieces.select(1, 0);
    if (!pieces.eq(order.unsqueeze(1)).all().item<bool>()) return false;
    scales = scales.index_select(1, order);
    zeros = zeros.index_select(1, order);
    return true;
  }

  Result dense(const at::Tensor& groups_of) const {
    const at::Tensor steps = codes.to(at::kFloat) - zeros.index_select(1, groups_of).to(at::kFloat);
    const at::Tensor scale = scales.index_select(1, groups_of).to(at::kFloat);
    return dense_result(module.name(), (steps * scale).to(scales.scalar_type()));
  }

  absl::StatusOr<Result> result() {
    IntegerForm integers = form.integers;
    Parts parts{{"codes", codes}, {"scales", scales}};
    if (zeros.ne(0).any().item<bool>()) integers.symmetric = false;
    if (!integers.symmetric) parts["zeros"] = zeros;
    SWAGE_ASSIGN_OR_RETURN(const auto codec, integer_codec(integers));
    return Result(module.name(), codec, out, in, std::move(parts));
  }
};

}  // namespace

absl::Status gptq_fits(const LinearSummary& linear, const std::vector<int>& bits) {
  if (linear.activation) return refused("inputs stay in floats there; use no activation scheme");
  SWAGE_ASSIGN_OR_RETURN(const IntegerForm form, integer_form(*linear.weight));
  if (std::find(bits.begin(), bits.end(), form.bits) == bits.end())
    return refused(absl::StrCat("it has ", absl::StrJoin(bits, ", "), " bits"));
  if (form.float_zeros) return refused("its zero points are integers; use zero = \"int\"");
  const int64_t codes = whole_codes(form.bits);
  if (linear.in % codes != 0 || linear.out % codes != 0)
    return refused(absl::StrCat("its words of ", form.bits, " bits hold multiples of ", codes,
                                " inputs and outputs, found ", linear.in, " and ", linear.out,
                                "; keep this linear"));
  if (linear.in % form.group_width(linear.in) != 0)
    return refused(absl::StrCat("the last group of ", linear.in,
                                " inputs is shorter, which kernels refuse or misread; use a group "
                                "size that divides ",
                                linear.in));
  const at::ScalarType type = scale_type(linear);
  if (type == at::kHalf || type == at::kBFloat16) return absl::OkStatus();
  return refused(absl::StrCat("its scales have 16 bits, these are ", dtype_name(type),
                              "; use scale_dtype = \"fp16\""));
}

absl::Status one_scale_type(const std::vector<LinearSummary>& planned) {
  const std::vector<LinearSummary> linears = compressed_of(planned);
  for (const LinearSummary& linear : linears) {
    const at::ScalarType first = scale_type(linears.front()), type = scale_type(linear);
    if (type == first) continue;
    return refused(absl::StrCat(linears.front().name, " has scales in ", dtype_name(first), ", ",
                                linear.name, " in ", dtype_name(type),
                                ": the format has one type for all; state one scale_dtype"));
  }
  return absl::OkStatus();
}

std::vector<IntegerSet> integer_sets(const std::vector<LinearSummary>& linears) {
  std::vector<IntegerSet> sets;
  const auto key = [](const IntegerForm& form) {
    return std::tuple(form.bits, form.group, form.symmetric);
  };
  for (const LinearSummary& linear : compressed_of(linears)) {
    const auto form = integer_form(*linear.weight);
    if (!form.ok()) continue;  // refused long before
    auto found = std::find_if(sets.begin(), sets.end(),
                              [&](const IntegerSet& set) { return key(set.form) == key(*form); });
    if (found == sets.end()) found = sets.insert(sets.end(), {*form, {}});
    found->linears.push_back(linear.name);
  }
  std::stable_sort(sets.begin(), sets.end(), [](const IntegerSet& a, const IntegerSet& b) {
    return a.linears.size() > b.linears.size();
  });
  return sets;
}

absl::Status write_gptq(const Result& linear, bool zeros_less_one, bool with_groups,
                        TensorSink& sink) {
  SWAGE_ASSIGN_OR_RETURN(const IntegerForm form, integer_form(*linear.codec()));
  const auto put = [&](const char* part, const at::Tensor& tensor) {
    return sink.put(absl::StrCat(linear.name(), ".", part), tensor.contiguous());
  };
  SWAGE_RETURN_IF_ERROR(put("qweight", pack(linear.part("codes"), form.bits).t()));
  const at::Tensor& scales = linear.part("scales");
  at::Tensor zeros = form.symmetric ? at::zeros(scales.sizes(), at::kChar) : linear.part("zeros");
  if (zeros_less_one) {
    if (zeros.eq(-(1 << (form.bits - 1))).any().item<bool>())
      return refused("a zero point is zero, which files of zero points minus one cannot hold");
    zeros = zeros.sub(1);
  }
  SWAGE_RETURN_IF_ERROR(put("qzeros", pack(zeros.t(), form.bits)));
  const auto halves = cast_exactly(scales, at::kHalf);
  SWAGE_RETURN_IF_ERROR(put("scales", (halves.ok() ? *halves : scales).t()));
  if (!with_groups) return absl::OkStatus();
  const int64_t width = form.group_width(linear.in());
  return put("g_idx", at::arange(linear.in(), at::kLong).floor_divide(width).to(at::kInt));
}

absl::StatusOr<Result> read_gptq(const StoredModule& module, const GptqForm& form,
                                 at::ScalarType scales) {
  Reading reading{module, form, 0, 0, {}, {}, {}};
  SWAGE_RETURN_IF_ERROR(reading.tensors(scales));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor groups_of, reading.scattered());
  if (groups_of.defined() && !reading.put_in_order(groups_of)) return reading.dense(groups_of);
  return reading.result();
}

}  // namespace swage::store
