#include "swage/store/half_parameter.h"

#include <ATen/ops/isfinite.h>

#include "absl/strings/str_cat.h"

namespace swage::store {

absl::Status put_half(const Parameter& parameter, const std::string& format, TensorSink& sink) {
  const at::Tensor stored = parameter.value.to(parameter.storage);
  if (!stored.is_floating_point()) return sink.put(parameter.name, stored);
  const at::Tensor half = stored.to(at::kHalf);
  if (at::isfinite(half).all().item<bool>()) return sink.put(parameter.name, half);
  return absl::InvalidArgumentError(
      absl::StrCat(parameter.name, " has values beyond the range of fp16, which ", format,
                   " computes in; export with use = \"huggingface\""));
}

}  // namespace swage::store
