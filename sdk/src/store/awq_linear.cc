#include "swage/store/awq_linear.h"

#include <ATen/ops/zeros.h>

#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/awq_layout.h"

namespace swage::store {
namespace {

constexpr int kBits = 4;
constexpr int64_t kRowsInWord = 8;

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

}  // namespace

absl::Status awq_fits(const LinearSummary& linear) {
  if (linear.activation) return refused("its inputs stay in floats; leave activation out");
  SWAGE_ASSIGN_OR_RETURN(const IntegerForm form, integer_form(*linear.weight));
  if (form.bits != kBits) return refused("it has codes of 4 bits alone; use bits = 4");
  if (form.float_zeros) return refused("its zero points are codes; use zero = \"int\"");
  const int64_t width = form.group_width(linear.in);
  if (linear.in % width != 0)
    return refused(absl::StrCat("groups of ", width, " do not fill rows of ", linear.in,
                                "; use a group size that divides ", linear.in));
  if (linear.out % kRowsInWord != 0)
    return refused(absl::StrCat("eight rows share a word and the linear has ", linear.out,
                                "; keep this linear"));
  const at::ScalarType type = scale_type(linear);
  if (type == at::kHalf || type == at::kBFloat16) return absl::OkStatus();
  return refused(absl::StrCat("its scales are fp16, and these are ", dtype_name(type),
                              "; write scale_dtype = \"fp16\" into the weight scheme"));
}

absl::Status write_awq(const Result& linear, TensorSink& sink) {
  const at::Tensor& scales = linear.part("scales");
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor half, cast_exactly(scales, at::kHalf));
  // Readers look for zero points of symmetric linears too: 8 everywhere.
  const at::Tensor& zeros = linear.part("zeros");
  const at::Tensor stored = zeros.defined() ? zeros : at::zeros(scales.sizes(), at::kChar);
  SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".qweight", pack_awq(linear.part("codes"))));
  SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".qzeros", pack_awq(stored)));
  return sink.put(linear.name() + ".scales", half.t().contiguous());
}

absl::StatusOr<Result> read_awq(const StoredModule& module, const IntegerForm& form,
                                at::ScalarType scales) {
  SWAGE_RETURN_IF_ERROR(
      module.expect_absent("g_idx", "none: AWQ has no groups of scattered columns"));
  SWAGE_ASSIGN_OR_RETURN(const auto shape, module.shape("qweight", 2));
  const int64_t in = shape[0], out = shape[1] * kRowsInWord;
  const int64_t width = form.group_width(in);
  if (in % width != 0)
    return module.wrong("qweight", absl::StrCat(in, " columns of input"),
                        absl::StrCat("a multiple of the group size ", width));
  const int64_t groups = in / width;
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor words, module.read("qweight", {at::kInt}, shape));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor zeros,
                         module.read("qzeros", {at::kInt}, {groups, shape[1]}));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored,
                         module.read("scales", float_types(), {groups, out}));
  Parts parts = {{"codes", unpack_awq(words)}, {"scales", stored.t().contiguous()}};
  if (scales != at::ScalarType::Undefined) {
    auto cast = cast_exactly(parts["scales"], scales);
    if (!cast.ok())
      return module.wrong("scales", "of other values", absl::StrCat(dtype_name(scales), "s"));
    parts["scales"] = *std::move(cast);
  }
  // What is in the files counts: a zero point other than 8 is one, whatever the config says.
  IntegerForm found = form;
  at::Tensor points = unpack_awq(zeros);
  if (points.any().item<bool>()) found.symmetric = false;
  if (!found.symmetric) parts["zeros"] = std::move(points);
  SWAGE_ASSIGN_OR_RETURN(auto codec, integer_codec(found));
  return Result(module.name(), std::move(codec), out, in, std::move(parts));
}

}  // namespace swage::store
