#include "nn/block_reader.h"

#include "swage/nn/load.h"
#include "swage/status.h"

namespace swage::nn {

absl::Status BlockReader::linear(const std::string& name, int64_t out, int64_t in, bool bias,
                                 Linear** slot) {
  SWAGE_ASSIGN_OR_RETURN(Linear linear,
                         load_linear(source_, prefix_ + name, out, in, bias, options_));
  linears_->push_back(std::move(linear));
  *slot = &linears_->back();
  return absl::OkStatus();
}

absl::Status BlockReader::parameter(const std::string& name, const std::vector<int64_t>& shape,
                                    Parameter** slot) {
  SWAGE_ASSIGN_OR_RETURN(Parameter parameter,
                         load_parameter(source_, prefix_ + name, shape, options_));
  parameters_->push_back(std::move(parameter));
  *slot = &parameters_->back();
  return absl::OkStatus();
}

absl::Status BlockReader::norm(const std::string& name, NormKind kind, double eps, int64_t width,
                               Norm* norm) {
  if (!(eps >= 0 && eps < 1e30)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "config.json: ", name, " adds ", eps,
        " to a variance (rms_norm_eps, layer_norm_eps or the ", "like), expected a number from 0"));
  }
  norm->kind = kind;
  norm->eps = eps;
  norm->present = true;
  if (kind == NormKind::kLayerPlain) return absl::OkStatus();
  SWAGE_RETURN_IF_ERROR(parameter(name + ".weight", {width}, &norm->weight));
  const bool biased = kind == NormKind::kLayer || kind == NormKind::kLayerOffset;
  return biased ? parameter(name + ".bias", {width}, &norm->bias) : absl::OkStatus();
}

}  // namespace swage::nn
