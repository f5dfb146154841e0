#include "core/engine/export_check.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/config/pipeline.h"
#include "core/engine/side_file_digests.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr int64_t kFewValues = 32;  // shapes and single scales

constexpr const char* kStorageKeys[] = {"compression_config", "dtype", "torch_dtype"};
// Beginnings of names that are looked for in a model's folder.
constexpr const char* kServed[] = {"tokenizer",
                                   "chat_template",
                                   "generation_config",
                                   "preprocessor_config",
                                   "processor_config",
                                   "special_tokens_map",
                                   "added_tokens",
                                   "vocab",
                                   "merges",
                                   "spiece"};

Value without_storage(const Value& config, const std::set<std::string>& keys) {
  if (config.table() == nullptr) return config;
  Value::Table kept;
  for (const auto& [key, value] : *config.table()) {
    if (keys.count(key) == 0 &&
        std::count(std::begin(kStorageKeys), std::end(kStorageKeys), key) == 0)
      kept[key] = without_storage(value, keys);
  }
  return Value(std::move(kept));
}

// Numbers as a file holds them.
Value as_written(const Value& value) {
  auto read = parse_json(to_json(value), "config.json");
  return read.ok() ? *std::move(read) : value;
}

bool is_served(const std::string& name) {
  return absl::EndsWith(name, ".py") ||
         std::any_of(std::begin(kServed), std::end(kServed),
                     [&](const char* begin) { return absl::StartsWith(name, begin); });
}

}  // namespace

std::vector<std::string> ReadLog::unread() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> left;
  for (std::string& name : source().names()) {
    if (read_.count(name) == 0) left.push_back(std::move(name));
  }
  return left;
}

absl::StatusOr<at::Tensor> ReadLog::read(std::string_view name) const {
  {
    const std::lock_guard lock(mutex_);
    read_.emplace(name);
  }
  return source().read(name);
}

absl::StatusOr<at::Tensor> ReadLog::read_rows(std::string_view name, int64_t begin,
                                              int64_t end) const {
  {
    const std::lock_guard lock(mutex_);
    read_.emplace(name);
  }
  return source().read_rows(name, begin, end);
}

absl::StatusOr<at::Tensor> OtherValues::read(std::string_view name) const {
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, ReadLog::read(name));
  return tensor.numel() <= kFewValues ? tensor : at::zeros_like(tensor);
}

std::vector<std::string> export_file_differences(const Value& model, const Value& found) {
  Value::Table counted;
  for (const auto& [name, digest] : *found.table()) {
    if (model.has(name) || is_served(name)) counted[name] = digest;
  }
  return file_differences(model, Value(std::move(counted)));
}

std::vector<std::string> number_differences(const Value& given, const Value& found) {
  std::vector<std::string> differences;
  if (given.table() == nullptr || found.table() == nullptr) return differences;
  for (const auto& [key, value] : *given.table()) {
    const Value& other = found[key];
    double a = 0, b = 0;
    bool same = true;
    if (value.boolean() != nullptr && other.boolean() != nullptr) same = value == other;
    if (value.number(&a) && other.number(&b))
      same = a == b || static_cast<float>(a) == static_cast<float>(b);
    if (!same)
      differences.push_back(
          absl::StrCat(key, " is ", to_json(other, -1), ", expected ", to_json(value, -1)));
  }
  return differences;
}

std::vector<std::string> config_differences(const Value& given, const Value& found,
                                            const std::set<std::string>& keys) {
  return differences(as_written(without_storage(given, keys)), without_storage(found, keys));
}

}  // namespace swage
