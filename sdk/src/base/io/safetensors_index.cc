#include "safetensors_index.h"

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"
#include "swage/value.h"

namespace swage::io {
namespace {

constexpr int64_t kMaxIndexBytes = 256 << 20;

bool is_plain(const std::string& file) {
  return file.find('/') == std::string::npos && file.find('\\') == std::string::npos &&
         file.find('\0') == std::string::npos;
}

// {"metadata": …, "weight_map": {"tensor": "file"}}, token by token: large models have a hundred
// thousand tensors.
class IndexReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Shards take_shards() { return std::move(shards_); }
  const std::string& problem() const { return problem_; }  // "": none, or the text is not JSON

  bool null() override { return other("null"); }
  bool boolean(bool) override { return other("a boolean"); }
  bool number_integer(number_integer_t) override { return other("an integer"); }
  bool number_unsigned(number_unsigned_t) override { return other("an integer"); }
  bool number_float(number_float_t, const string_t&) override { return other("a number"); }
  bool binary(binary_t&) override { return other("bytes"); }
  bool string(string_t& value) override {
    if (!at_tensor()) return other("a text");
    if (!is_plain(value) || !absl::EndsWith(value, ".safetensors"))
      return fail(absl::StrCat("tensor \"", tensor_, "\" is said to lie in \"", value,
                               "\", expected the plain name of a .safetensors file beside the "
                               "index"));
    if (last_ == shards_.end() || last_->first != value) last_ = shards_.try_emplace(value).first;
    last_->second.push_back(std::move(tensor_));
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ > 0 && !(in_map_ && depth_ == 1) && !other("a table")) return false;
    return ++depth_, true;
  }
  bool start_array(std::size_t) override { return other("a list") && ++depth_; }
  bool end_object() override { return --depth_, true; }
  bool end_array() override { return --depth_, true; }
  bool key(string_t& name) override {
    if (depth_ == 1) in_map_ = name == "weight_map";
    if (depth_ == 2 && in_map_) tensor_ = std::move(name);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 private:
  bool at_tensor() const { return depth_ == 2 && in_map_; }
  bool fail(std::string problem) { return problem_ = std::move(problem), false; }
  // Anything but a file's name; elsewhere in the index it does not matter.
  bool other(const std::string& type) {
    if (at_tensor())
      return fail(
          absl::StrCat("tensor \"", tensor_, "\" has ", type, " for its file, expected a name"));
    if (depth_ == 0 || (depth_ == 1 && in_map_))
      return fail(absl::StrCat(depth_ == 0 ? "the index" : "\"weight_map\"", " is ", type,
                               ", expected a table from tensors to files"));
    return true;
  }

  Shards shards_;
  Shards::iterator last_ = shards_.end();
  int64_t depth_ = 0;
  bool in_map_ = false;
  std::string tensor_, problem_;
};

}  // namespace

absl::StatusOr<Shards> read_index(const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxIndexBytes));
  IndexReader reader;
  if (!nlohmann::json::sax_parse(text, &reader)) {
    // What is no JSON is said in one way everywhere.
    if (reader.problem().empty()) SWAGE_RETURN_IF_ERROR(parse_json(text, path).status());
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", reader.problem()));
  }
  Shards shards = reader.take_shards();
  if (shards.empty())
    return absl::InvalidArgumentError(
        absl::StrCat(path,
                     ": \"weight_map\" is missing or empty, expected a table from tensors "
                     "to files"));
  return shards;
}

}  // namespace swage::io
