#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "swage/builtin_formats.h"
#include "swage/codec.h"
#include "tests/kit/fixture.h"

// What tests over all formats share: the formats by their manifest, matrices, codecs.
namespace swage {

inline void PrintTo(const Scheme& scheme, std::ostream* out) {
  *out << to_json(to_value(scheme), -1);
}

}  // namespace swage

namespace swage::test {

// One key of a format's manifest, as far as tests vary it.
struct FormatKey {
  std::string name, when_key;
  Value fallback, when_value;
  std::vector<Value> choices;  // of type choice and bool
  bool of_weights = true;
};

struct BuiltinFormat {
  std::string name;
  bool of_inputs = false;
  std::vector<FormatKey> keys;
};

inline Value read_value(const std::string& text) {
  if (text.front() == '"') return text.substr(1, text.size() - 2);
  if (text == "true" || text == "false") return text == "true";
  if (text.find('.') != std::string::npos) return std::stod(text);
  return static_cast<int64_t>(std::stoll(text));
}

// "a = b" as its halves; the second is empty where there is none.
inline std::pair<std::string, std::string> halves_of(const std::string& line) {
  const size_t at = line.find(" = ");
  if (at == std::string::npos) return {line, ""};
  return {line.substr(0, at), line.substr(at + 3)};
}

// What stands between the brackets of a list or of a table.
inline std::string inside(const std::string& text) {
  const size_t first = text.find_first_not_of("[{ "), last = text.find_last_not_of("]} ");
  return text.substr(first, last - first + 1);
}

// The manifest line by line: it is TOML of the plainest kind.
inline std::vector<BuiltinFormat> builtin_formats_by_name() {
  std::vector<BuiltinFormat> formats;
  bool in_key = false;
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(builtin_formats(), '\n'))) {
    if (line == "[[component]]") formats.emplace_back();
    if (formats.empty()) continue;
    BuiltinFormat& format = formats.back();
    if (line == "[[component]]" || line == "[[component.param]]") {
      in_key = line == "[[component.param]]";
      if (in_key) format.keys.emplace_back();
      continue;
    }
    const auto [what, value] = halves_of(line);
    if (value.empty()) continue;
    if (!in_key) {
      if (what == "name") format.name = *read_value(value).text();
      if (what == "tables") format.of_inputs = value.find("activation") != std::string::npos;
      continue;
    }
    FormatKey& key = format.keys.back();
    if (what == "name") key.name = *read_value(value).text();
    if (what == "tables") key.of_weights = value.find("weight") != std::string::npos;
    if (what == "default") key.fallback = read_value(value);
    if (what == "type" && value == "\"bool\"") key.choices = {Value(false), Value(true)};
    if (what == "choices") {
      for (const std::string& one : std::vector<std::string>(absl::StrSplit(inside(value), ", ")))
        key.choices.push_back(read_value(one));
    }
    if (what == "when") {
      const auto [other, needed] = halves_of(inside(value));
      key.when_key = other;
      key.when_value = read_value(needed);
    }
  }
  return formats;
}

// Schemes of weights: each format with its defaults, and with one of its choices after the other.
inline std::vector<Scheme> weight_schemes() {
  std::vector<Scheme> schemes;
  for (const BuiltinFormat& format : builtin_formats_by_name()) {
    schemes.push_back({format.name, {}});
    for (const FormatKey& key : format.keys) {
      if (!key.of_weights) continue;
      for (const Value& choice : key.choices) {
        if (choice == key.fallback) continue;
        Scheme scheme{format.name, {{key.name, choice}}};
        if (!key.when_key.empty()) scheme.keys[key.when_key] = key.when_value;
        schemes.push_back(std::move(scheme));
      }
    }
  }
  return schemes;
}

inline std::string text_of(const Scheme& scheme) { return to_json(to_value(scheme), -1); }

inline std::shared_ptr<const Codec> codec_of(const Scheme& scheme) {
  auto codec = make_codec(scheme);
  EXPECT_TRUE(codec.ok()) << text_of(scheme) << ": " << codec.status();
  return codec.ok() ? *codec : nullptr;
}

inline std::shared_ptr<const Codec> codec_of(const std::string& format, Value::Table keys = {}) {
  return codec_of(Scheme{format, std::move(keys)});
}

// A codec, levels and codes of a weight: what most tests begin with.
inline Parts quantized(const Codec& codec, const at::Tensor& weight,
                       const FitRequest& request = {}) {
  auto levels = codec.fit(weight, request);
  EXPECT_TRUE(levels.ok()) << codec.describe() << ": " << levels.status();
  return levels.ok() ? codec.encode(weight, *std::move(levels)) : Parts();
}

inline at::Tensor round_trip(const Codec& codec, const at::Tensor& weight,
                             const FitRequest& request = {}) {
  return codec.decode(quantized(codec, weight, request), weight.size(0), weight.size(1));
}

// Values like those of a trained weight, with an outlier here and there.
inline at::Tensor random_matrix(int64_t out, int64_t in, uint32_t seed = 1) {
  Generator random(seed);
  at::Tensor weight = at::empty({out, in});
  float* w = weight.mutable_data_ptr<float>();
  for (int64_t i = 0; i < out * in; ++i) {
    const double size = random.uniform() < 0.01 ? 0.5 : 0.05;
    w[i] = static_cast<float>(size * random.normal());
  }
  return weight;
}

// Bit for bit, whatever the dtype.
inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.defined() != b.defined()) return false;
  if (!a.defined()) return true;
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  return a.contiguous().view(at::kByte).equal(b.contiguous().view(at::kByte));
}

inline bool same_parts(const Parts& a, const Parts& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a)
    if (!same_bits(tensor, part(b, name))) return false;
  return true;
}

}  // namespace swage::test
