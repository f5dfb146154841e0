#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "swage/exporter.h"

// How MLX quantizes a matrix, and the codecs that are the same.
namespace swage::mlx {

// What "quantization" in config.json says, for the model or of one module.
struct Mode {
  std::string name = "affine";
  int64_t bits = 4, group = 64;

  bool is_affine() const { return name == "affine"; }
  Value::Table to_table() const;
};
bool operator==(const Mode& a, const Mode& b);

// InvalidArgument: what MLX does not compute with, and what would do.
absl::StatusOr<Mode> mode_of(const LinearSummary& linear);
absl::StatusOr<Mode> mode_of(const Codec& codec);

// Of a table of config.json; keys that are not there have MLX's defaults. InvalidArgument: what no
// mode of MLX is.
absl::StatusOr<Mode> mode_from(const Value& table, const std::string& where);

// What MLX does not tell: "affine" stands for three of our formats, and floats are rounded to some
// dtype. {} for a codec that is told by its mode.
Value::Table note_of(const LinearSummary& linear);
// The codec by mode and note (null: a checkpoint of others).
absl::StatusOr<std::shared_ptr<const Codec>> codec_of(const Mode& mode, const Value& note);

}  // namespace swage::mlx
