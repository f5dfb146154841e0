#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "architecture.h"

namespace swage::io::gguf {

// Collects keys of one architecture.
class KeyWriter {
 public:
  explicit KeyWriter(const std::string& architecture) : prefix_(architecture + ".") {}
  void count(const std::string& key, int64_t value);
  void number(const std::string& key, double value);
  void flag(const std::string& key, bool value);
  void text(const std::string& key, const std::string& value);
  void add(const std::string& key, GgufType type, const Value& value);
  std::vector<GgufKey> take() { return std::move(keys_); }

 private:
  std::string prefix_;
  std::vector<GgufKey> keys_;
};

// Keys of one architecture as a file has them.
class Metadata {
 public:
  Metadata(const GgufContents& contents, std::string architecture)
      : contents_(contents), prefix_(std::move(architecture) + ".") {}
  const Value& operator[](const std::string& key) const {
    return contents_.metadata[prefix_ + key];
  }
  bool has(const std::string& key) const { return !(*this)[key].is_null(); }
  // A count from 1 to 2^31; error when it is missing.
  absl::StatusOr<int64_t> count(const std::string& key) const;
  int64_t count(const std::string& key, int64_t fallback) const;
  // fp32 in the file: the shortest decimal number that means the same.
  double number(const std::string& key, double fallback) const;
  absl::StatusOr<double> number(const std::string& key) const;
  bool flag(const std::string& key, bool fallback) const;
  std::string text(const std::string& key, const std::string& fallback) const;
  const GgufContents& contents() const { return contents_; }

 private:
  const GgufContents& contents_;
  std::string prefix_;
};

double shortest(double fp32);

// Rotations. `sizes.head_dim` channels rotate, or the share that config.json says.
absl::StatusOr<int64_t> rotary_channels(const Architecture& architecture, const Value& config,
                                        const Sizes& sizes);
absl::Status write_rotation(const Architecture& architecture, const Value& config,
                            const Sizes& sizes, KeyWriter* keys);
absl::Status read_rotation(const Architecture& architecture, const Metadata& metadata,
                           int64_t head_dim, Value::Table* config);
// Tensors made of the configuration: rope_freqs.weight, rope_factors_long.weight …
absl::StatusOr<std::vector<GgufPlan>> rotation_tensors(const Architecture& architecture,
                                                       const Value& config, const Sizes& sizes);
bool is_rotation_tensor(const std::string& name);
// rope_parameters (or rope_scaling) of config.json; an empty table when there is none.
const Value& rope_table(const Value& config);
std::string rope_type(const Value& config);

}  // namespace swage::io::gguf
