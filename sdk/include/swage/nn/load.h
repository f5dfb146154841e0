#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/linear.h"
#include "swage/model.h"
#include "swage/weight_source.h"

// From tensors of a checkpoint to the parts of a block. Every reader checks the shape and refuses
// NaN and infinity with the tensor's name and the first bad index; any float dtype becomes
// options.compute on options.device.
namespace swage::nn {

// Payload of errors of what follows, where a tensor is absent or of another shape: the shape that
// it should have, "64,128". So `swage check` names all such tensors at once.
inline constexpr char kWantedShape[] = "swage.wanted-shape";

// The tensor in its stored dtype on the CPU, checked. InvalidArgument: another shape, a dtype that
// is no float, a value that is not finite. NotFound: absent.
SWAGE_API absl::StatusOr<at::Tensor> read_checked(const WeightSource& source,
                                                  const std::string& name,
                                                  const std::vector<int64_t>& shape);

SWAGE_API absl::StatusOr<Parameter> load_parameter(const WeightSource& source,
                                                   const std::string& name,
                                                   const std::vector<int64_t>& shape,
                                                   const LoadOptions& options);

// Reads `module`.weight [out, in] and, with `bias`, `module`.bias [out].
SWAGE_API absl::StatusOr<Linear> load_linear(const WeightSource& source, const std::string& module,
                                             int64_t out, int64_t in, bool bias,
                                             const LoadOptions& options);

}  // namespace swage::nn
