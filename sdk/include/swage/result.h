#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/codec.h"
#include "swage/export.h"

namespace swage {

// Quantization of a linear's input: an activation scheme and, where that is static, its levels.
struct SWAGE_API ActivationQuantizer {
  std::shared_ptr<const Codec> codec;
  Parts levels;

  at::Tensor apply(const at::Tensor& x) const { return codec->quantize_input(x, levels); }
};

class Result;

// What is added to the main path of a result, or replaces some of its entries.
struct SWAGE_API Side {
  // An index names no place twice.
  enum class Kind {
    kEntries,  // "index" int64 [n, 2] (row, column), "value" [n]: they replace what is decoded
               // there
    kColumns,  // "index" int64 [k], "value" [out, k]: they replace whole columns
    kLowRank   // "left" [out, r] and "right" [r, in]: their product is added
  };
  // What a side multiplies: the input as it comes, or as the main path has it.
  enum class Input { kRaw, kQuantized };

  Kind kind = Kind::kEntries;
  Input input = Input::kQuantized;
  Parts parts;
  // kLowRank: factors in number formats of their own, each in place of the part of its name.
  std::shared_ptr<const Result> left, right;
};
SWAGE_API const char* name_of(Side::Kind kind);

// What a linear has become: parts in one number format, sides, a mask. The only truth about it:
// evaluation computes with what it decodes to, exporters pack it, verification compares it; nobody
// quantizes floats again. A value that is cheap to copy: copies share their tensors, setters leave
// other copies as they are.
class SWAGE_API Result {
 public:
  Result();
  Result(std::string name, std::shared_ptr<const Codec> codec, int64_t out, int64_t in,
         Parts parts);

  const std::string& name() const;  // module path, "model.layers.0.self_attn.q_proj"
  int64_t out() const;
  int64_t in() const;
  bool empty() const { return codec() == nullptr; }
  const std::shared_ptr<const Codec>& codec() const;
  const Parts& parts() const;
  const at::Tensor& part(std::string_view name) const { return swage::part(parts(), name); }
  const std::vector<Side>& sides() const;
  const at::Tensor& mask() const;  // bool [out, in], false: pruned; undefined: all are kept
  // text() of what the input must pass before anything else ("" = nothing).
  const std::string& online_transform() const;
  const std::optional<ActivationQuantizer>& activation() const;
  const std::string& provenance() const;  // "gptq (swage.gptq 1.0.0)"

  Result& set_name(std::string name);
  Result& set_part(const std::string& name, at::Tensor tensor);
  Result& set_mask(at::Tensor mask);
  Result& add_side(Side side);
  Result& set_online_transform(std::string text);
  Result& set_activation(std::optional<ActivationQuantizer> activation);
  Result& set_provenance(std::string text);

 private:
  struct Fields;
  Fields& change();
  std::shared_ptr<const Fields> fields_;
};

// The weight fp32 [out, in] that multiplies what the main path sees: decoded, masked, with all
// sides that read the quantized input.
SWAGE_API at::Tensor decode(const Result& result);
// The weight that multiplies the raw input beside it, undefined where no side reads that.
SWAGE_API at::Tensor decode_raw(const Result& result);
// Both together: what a dense checkpoint would hold.
SWAGE_API at::Tensor decode_whole(const Result& result);
// Dtype of the main path's values.
SWAGE_API at::ScalarType decoded_type(const Result& result);

// Logical bits of everything stored, without padding (w4 g64 asymmetric with 16-bit scales: 4.3125
// per weight). A masked weight has no code; its place takes a bit. Indices take 16 bits where these
// suffice, else 32.
SWAGE_API int64_t storage_bits(const Result& result);

// Shapes, dtypes, code ranges and finiteness; the error names the linear and the part.
SWAGE_API absl::Status validate(const Result& result);

// 128-bit digest of every stored part (hexadecimal): equal digests mean equal bits.
SWAGE_API std::string digest(const Result& result);
SWAGE_API std::string digest(const at::Tensor& tensor);

// Floats as a result: the weight [out, in] in its dtype.
SWAGE_API Result dense_result(std::string name, at::Tensor weight);

}  // namespace swage
