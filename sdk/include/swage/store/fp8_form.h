#pragma once
#include <memory>

#include "absl/status/statusor.h"
#include "swage/codec.h"
#include "swage/export.h"
#include "swage/exporter.h"
#include "swage/store/stored_module.h"

// Matrices in fp8 (e4m3) as files hold them: codes, and multipliers in fp32.
namespace swage::store {

// What a multiplier stands for.
struct SWAGE_API Fp8Form {
  enum class Extent { kTensor, kChannel, kBlock };
  Extent extent = Extent::kTensor;
  int64_t rows = 0, columns = 0;  // of a block
};
// InvalidArgument, why not: another format, scales for groups of a row.
SWAGE_API absl::StatusOr<Fp8Form> fp8_form(const Codec& codec);
SWAGE_API absl::StatusOr<std::shared_ptr<const Codec>> fp8_codec(const Fp8Form& form);

// Inputs in fp8: scales that follow each token, or so many columns of it, or one from calibration.
struct SWAGE_API Fp8Input {
  bool dynamic = true;
  int64_t group = 0;  // of dynamic ones: columns; 0: the token
};
// InvalidArgument, why not: another format, one dynamic scale for all tokens.
SWAGE_API absl::StatusOr<Fp8Input> fp8_input(const Codec& codec);
SWAGE_API absl::StatusOr<std::shared_ptr<const Codec>> fp8_input_codec(const Fp8Input& input);

// InvalidArgument where the planned scales are of fewer bits: a weight would be rounded to these,
// which no engine does.
SWAGE_API absl::Status check_fp32_scales(const LinearSummary& linear);

// `name.weight`, and `name.<scale>`: [] for the tensor, [out] for rows, else [block rows, block
// columns].
SWAGE_API absl::Status put_fp8(const Result& linear, const char* scale, TensorSink& sink);
// Its inputs stay in floats; scales in other floats become fp32.
SWAGE_API absl::StatusOr<Result> read_fp8(const StoredModule& module, const Fp8Form& form,
                                          const char* scale);

// `name.<scale>` [] of an input with one static scale; nothing where scales are dynamic.
SWAGE_API absl::Status put_input_scale(const Result& linear, const char* scale, TensorSink& sink);
// InvalidArgument: the scale is missing, or there beside a dynamic scheme.
SWAGE_API absl::StatusOr<ActivationQuantizer> read_input_scale(const StoredModule& module,
                                                               std::shared_ptr<const Codec> codec,
                                                               const char* scale);

}  // namespace swage::store
