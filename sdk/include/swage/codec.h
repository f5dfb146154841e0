#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/params.h"
#include "swage/scheme.h"

namespace swage {

namespace quant {
struct ScalarGrid;
}

// Tensors of a result by name: "codes", "scales" … What a digest covers.
using Parts = std::map<std::string, at::Tensor, std::less<>>;
// A part, or an undefined tensor where there is none.
SWAGE_API const at::Tensor& part(const Parts& parts, std::string_view name);

// What levels (scales, zero points …) are chosen by, beside the weight.
struct SWAGE_API FitRequest {
  at::ScalarType scale_dtype = at::kFloat;  // of scales whose type the scheme leaves open
  at::Tensor clip_low, clip_high;           // limits per group [out, groups], both or none
  at::Tensor importance;  // [in], >= 0: weight of a column's squared error (Σ x²); or none
  std::string range;      // not empty: in place of the scheme's own `range`
  std::vector<at::Tensor> fused;  // other weights that an engine multiplies together with this one
};

class Codec;

// What a linear is to become: a number format, and what its levels are chosen by.
struct SWAGE_API Target {
  std::shared_ptr<const Codec> codec;
  FitRequest request;
};

// k columns that were rounded together.
struct SWAGE_API RoundedBlock {
  at::Tensor codes;    // [rows, …], as the format's part "codes" holds them
  at::Tensor decoded;  // [rows, k], the dtype of what was rounded
};

// One number format with the values of its keys: how a matrix [out, in] is stored. Immutable; calls
// may come from any thread. Whatever is stored is rounded to its storage form before codes are
// computed, level by level; ranges, scales and rounding are fp32 or better (fp64 for fp64 weights).
//
// Formats are components of kind "format" (SWAGE_FORMAT), made from the keys of a scheme. A format
// is either scalar (quant::ScalarCodec: every value is (table[code] - zero) · scale + offset), or
// rounds block_columns() columns at once.
//
// Calls from outside are not virtual. Where a plugin brought the format they are its border: what
// it throws, and an answer that is none (a decoded matrix of another shape, a part that is
// undefined), becomes an error that names format, call and plugin. Calls without a status throw it,
// as a std::runtime_error that every call_plugin() turns back into that error.
class SWAGE_API Codec {
 public:
  virtual ~Codec();
  const Scheme& scheme() const { return scheme_; }
  const std::string& format() const { return scheme_.format; }

  // "w4 g64 symmetric", "nvfp4".
  std::string describe() const;
  // What of the scheme the stored parts are read by, as text: equal texts and parts, equal weights.
  std::string form() const;

  // Levels of a weight [out, in] (fp32 or fp64, any strides). InvalidArgument: an empty matrix, a
  // width that the format cannot cut, values that are not finite, a scale outside of its type.
  absl::StatusOr<Parts> fit(const at::Tensor& weight, const FitRequest& request) const;
  // `levels` and the codes nearest to the weight.
  Parts encode(const at::Tensor& weight, Parts levels) const;
  // The weight [out, in] that the parts mean, fp32: the one definition, which solvers, evaluation,
  // verification and readers share. A code × scale is rounded once, to what the format states.
  at::Tensor decode(const Parts& parts, int64_t out, int64_t in) const;
  // Shapes, dtypes, ranges and finiteness of all parts.
  absl::Status validate(const Parts& parts, int64_t out, int64_t in) const;

  // Bits of one code a weight, and of all levels, without padding.
  double code_bits() const;
  int64_t level_bits(const Parts& parts) const;
  // The same of a weight that is not there yet.
  int64_t planned_level_bits(int64_t out, int64_t in, at::ScalarType scale_dtype) const;

  // The dtype of scales that the scheme leaves open, for a weight that the checkpoint holds in
  // `storage`: FitRequest::scale_dtype.
  at::ScalarType open_scale_type(at::ScalarType storage, bool quantized_input) const;
  // Inputs must be a multiple of this (1: any width will do).
  int64_t column_multiple() const;
  // Columns of a row that share a scale: what is cut off, clipped and searched together.
  int64_t group_width(int64_t in) const;
  int64_t group_count(int64_t in) const { return (in + group_width(in) - 1) / group_width(in); }
  // May each group's range be clipped for itself, as searches of limits ask for?
  bool takes_limits() const;
  // Does its fit ask for FitRequest::importance?
  bool wants_importance() const;
  // Are levels shared with the weights of FitRequest::fused?
  bool wants_fused() const;
  // Does a level of an activation scheme depend on several tokens, all those of a sequence?
  bool shares_tokens() const;
  // Dtype of the values that it decodes to, given the levels.
  at::ScalarType decoded_type(const Parts& parts) const;

  // What an input x [tokens, in] becomes under an activation scheme: levels of its own where the
  // scheme is dynamic, else (or as far as) `fixed` holds them. Straight-through in backward.
  at::Tensor quantize_input(const at::Tensor& x, const Parts& fixed) const;
  // Levels of a static scheme for inputs in [low, high]; empty where all are dynamic.
  Parts input_levels(float low, float high) const;

  // 0: a scalar format, whose grid() solvers work on.
  int64_t block_columns() const;
  // FailedPrecondition: no scalar format.
  absl::StatusOr<quant::ScalarGrid> grid(const Parts& levels, int64_t out, int64_t in) const;
  // Columns first … first + k of a matrix whose levels are given; target [rows, k]: all rows.
  RoundedBlock round_block(const at::Tensor& target, const Parts& levels, int64_t first) const;

  // An ability that a later version of the host may ask for; null: it has none of this name.
  const void* query(std::string_view ability) const;

 protected:
  Codec();
  virtual std::string do_describe() const = 0;
  virtual std::string do_form() const;  // default: all keys
  virtual absl::StatusOr<Parts> do_fit(const at::Tensor& weight,
                                       const FitRequest& request) const = 0;
  virtual Parts do_encode(const at::Tensor& weight, Parts levels) const = 0;
  virtual at::Tensor do_decode(const Parts& parts, int64_t out, int64_t in) const = 0;
  virtual absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const = 0;
  virtual double do_code_bits() const = 0;
  virtual int64_t do_level_bits(const Parts& parts) const = 0;
  virtual int64_t do_planned_level_bits(int64_t out, int64_t in,
                                        at::ScalarType scale_dtype) const = 0;
  virtual at::ScalarType do_open_scale_type(at::ScalarType storage, bool) const { return storage; }
  virtual int64_t do_column_multiple() const { return 1; }
  virtual int64_t do_group_width(int64_t in) const { return in; }
  virtual bool do_takes_limits() const { return false; }
  virtual bool do_wants_importance() const;  // default: range = "weighted"
  virtual bool do_wants_fused() const;       // default: share = "fused"
  virtual bool do_shares_tokens() const { return false; }
  virtual at::ScalarType do_decoded_type(const Parts&) const { return at::kFloat; }
  virtual at::Tensor do_quantize_input(const at::Tensor& x, const Parts& fixed) const;
  virtual Parts do_input_levels(float low, float high) const;
  virtual int64_t do_block_columns() const { return 0; }
  virtual absl::StatusOr<quant::ScalarGrid> do_grid(const Parts& levels, int64_t out,
                                                    int64_t in) const;
  virtual RoundedBlock do_round_block(const at::Tensor& target, const Parts& levels,
                                      int64_t first) const;
  virtual const void* do_query(std::string_view ability) const;

 private:
  friend SWAGE_API absl::StatusOr<std::shared_ptr<const Codec>> make_codec(const Scheme& scheme);
  // Runs a call of the format, within the border where a plugin brought it.
  absl::Status within(const char* phase, const std::function<absl::Status()>& call) const;
  // The same of a call without a status: throws what goes wrong, `check` included.
  template <class Call, class Check>
  auto answer(const char* phase, const Call& call, const Check& check) const;

  Scheme scheme_;
  std::string origin_;  // "plugin org.example 1.0.0, /…/x.swage.so"; "": of the SDK itself
};

// The codec of a scheme; keys that it lacks have their defaults. NotFound: no format of this name
// is registered. InvalidArgument: keys that contradict each other.
SWAGE_API absl::StatusOr<std::shared_ptr<const Codec>> make_codec(const Scheme& scheme);
// Makes a format known under a name, for the host, which does so for plugins. A name that is known
// already stays with what it names. `origin` is that of a CallSite.
using CodecMaker = std::function<absl::StatusOr<std::unique_ptr<Codec>>(const Params& params)>;
SWAGE_API void register_format(const std::string& name, CodecMaker make, std::string origin);

}  // namespace swage
