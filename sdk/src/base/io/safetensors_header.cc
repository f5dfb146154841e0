#include "swage/io/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "../json_text.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "posix_file.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr int64_t kMaxHeaderBytes = 100'000'000;  // the limit of the official reader
constexpr int64_t kLengthBytes = 8;
constexpr size_t kMaxDimensions = 16;
constexpr const char* kTwice = "stands there twice";

struct TypeInfo {
  StoredType type;
  const char* name;
  int64_t bytes;
};
constexpr TypeInfo kTypes[] = {
    {StoredType::kF64, "F64", 8},        {StoredType::kF32, "F32", 4},
    {StoredType::kF16, "F16", 2},        {StoredType::kBF16, "BF16", 2},
    {StoredType::kF8E4M3, "F8_E4M3", 1}, {StoredType::kF8E5M2, "F8_E5M2", 1},
    {StoredType::kI64, "I64", 8},        {StoredType::kI32, "I32", 4},
    {StoredType::kU32, "U32", 4},        {StoredType::kI16, "I16", 2},
    {StoredType::kI8, "I8", 1},          {StoredType::kU8, "U8", 1},
    {StoredType::kBool, "BOOL", 1}};

const TypeInfo& info_of(StoredType type) {
  const auto* it = std::find_if(std::begin(kTypes), std::end(kTypes),
                                [&](const TypeInfo& info) { return info.type == type; });
  SWAGE_CHECK(it != std::end(kTypes));
  return *it;
}

// {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"key":
// "text"}}, token by token: nothing else is built in memory, however long or deep the text is.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Header take_header() { return std::move(header_); }
  const std::string& problem() const { return problem_; }

  bool null() override { return misplaced("null"); }
  bool boolean(bool) override { return misplaced("a boolean"); }
  bool number_integer(number_integer_t value) override {
    return misplaced(absl::StrCat("the number ", value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return misplaced(absl::StrCat("the number ", text));
  }
  bool binary(binary_t&) override { return misplaced("bytes"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ != 3) return misplaced(absl::StrCat("the number ", value));
    if (value > number_unsigned_t{INT64_MAX})
      return fail(absl::StrCat("the number ", value, " is too large"));
    auto& list = field_ == "shape" ? info_.shape : offsets_;
    if (list.size() == kMaxDimensions)
      return fail(absl::StrCat("\"", field_, "\" has more than ", kMaxDimensions, " numbers"));
    list.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (depth_ == 2 && in_metadata()) return true;
    if (depth_ != 2 || field_ != "dtype")
      return misplaced(absl::StrCat("the text \"", value, "\""));
    const auto* it = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const TypeInfo& info) { return info.name == value; });
    if (it == std::end(kTypes)) {
      return fail(absl::StrCat(
          "dtype \"", value, "\" is not read; read are ",
          absl::StrJoin(kTypes, ", ",
                        [](std::string* out, const TypeInfo& info) { out->append(info.name); })));
    }
    info_.type = it->type;
    return true;
  }

  bool start_object(std::size_t) override {
    if (depth_ > 1) return misplaced("an object");
    ++depth_;
    metadata_fields_.clear();
    has_type_ = has_shape_ = has_offsets_ = false;
    offsets_.clear();
    info_ = {};
    return true;
  }

  bool end_object() override { return --depth_ == 0 || in_metadata() || keep_tensor(); }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata() || field_ == "dtype") return misplaced("a list");
    ++depth_;
    return true;
  }

  bool end_array() override { return --depth_ > 0; }

  bool key(string_t& value) override {
    if (depth_ == 1) {
      name_ = value;
      if (!in_metadata()) return true;  // keep_tensor() sees names that stand there twice
      return !std::exchange(has_metadata_, true) || fail(kTwice);
    }
    field_ = value;
    if (in_metadata()) return metadata_fields_.insert(value).second || fail_twice();
    for (auto [name, seen] : {std::pair("dtype", &has_type_), std::pair("shape", &has_shape_),
                              std::pair("data_offsets", &has_offsets_)}) {
      if (value == name) return !std::exchange(*seen, true) || fail_twice();
    }
    return fail(absl::StrCat("the key \"", value, "\" is unknown"));
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception& error) override {
    problem_ = absl::StrCat("the header is not valid JSON at its byte ", position, " (",
                            json_problem(error.what(), ""), ")");
    return false;
  }

 private:
  bool in_metadata() const { return name_ == "__metadata__"; }

  bool fail_twice() { return fail(absl::StrCat("\"", field_, "\" ", kTwice)); }

  bool fail(const std::string& what) {
    problem_ = absl::StrCat("tensor \"", name_, "\": ", what);
    return false;
  }

  bool misplaced(const std::string& what) {
    if (depth_ == 0)
      return problem_ = absl::StrCat("the header is ", what, ", expected an object"), false;
    return fail(absl::StrCat(what, " is out of place",
                             depth_ == 1 ? "" : absl::StrCat(" at \"", field_, "\"")));
  }

  bool keep_tensor() {
    for (const auto& [field, seen] : {std::pair("dtype", has_type_), std::pair("shape", has_shape_),
                                      std::pair("data_offsets", has_offsets_)}) {
      if (!seen) return fail(absl::StrCat("\"", field, "\" is missing"));
    }
    if (offsets_.size() != 2)
      return fail(absl::StrCat(offsets_.size(), " data_offsets, expected 2"));
    info_.begin = offsets_[0], info_.end = offsets_[1];
    int64_t bytes = byte_size(info_.type);
    for (int64_t size : info_.shape) {
      if (__builtin_mul_overflow(bytes, size, &bytes))
        return fail("the product of its shape overflows");
    }
    if (info_.end < info_.begin || info_.end - info_.begin != bytes) {
      return fail(absl::StrCat("bytes ", info_.begin, " to ", info_.end, " do not fit ",
                               name(info_.type), " [", absl::StrJoin(info_.shape, ", "),
                               "], which takes ", bytes));
    }
    const size_t before = header_.size();
    header_.emplace_hint(header_.end(), name_, std::move(info_));
    return header_.size() > before || fail(kTwice);
  }

  Header header_;
  bool has_metadata_ = false, has_type_ = false, has_shape_ = false, has_offsets_ = false;
  std::set<std::string, std::less<>> metadata_fields_;
  std::string name_, field_, problem_;
  TensorInfo info_;
  std::vector<int64_t> offsets_;
  int depth_ = 0;
};

// Tensors must fill the data part from its first to its last byte. Makes offsets places in the
// file.
absl::Status place(const std::string& path, int64_t data_begin, int64_t data_bytes,
                   Header* header) {
  std::vector<std::pair<const std::string*, TensorInfo*>> order;
  for (auto& [name, info] : *header) order.emplace_back(&name, &info);
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  int64_t expected = 0;
  for (auto& [name, info] : order) {
    if (info->end > data_bytes) {
      return absl::DataLossError(absl::StrCat(path, ": tensor \"", *name, "\" ends at byte ",
                                              info->end, " of the data, which has ", data_bytes,
                                              ": the file is truncated"));
    }
    if (info->begin != expected) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": tensor \"", *name, "\" begins at byte ", info->begin, " of the data, expected ",
          expected, ": the ranges ", info->begin < expected ? "overlap" : "leave a hole"));
    }
    expected = info->end;
    info->begin += data_begin;
    info->end += data_begin;
  }
  if (expected != data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the tensors end at byte ", expected, " of the data, which has ",
                     data_bytes, ": ", data_bytes - expected, " bytes belong to no tensor"));
  }
  return absl::OkStatus();
}

// What people have instead of weights: a file that a version control system would replace, a page
// of a server, an archive.
absl::Status check_kind(const std::string& path, const InputFile& file) {
  std::string begin(static_cast<size_t>(std::min<int64_t>(file.size(), 64)), '\0');
  SWAGE_RETURN_IF_ERROR(file.read(0, static_cast<int64_t>(begin.size()), begin.data()));
  const std::pair<absl::string_view, const char*> kinds[] = {
      {"version https://git-lfs",
       "a pointer of Git LFS, no weights: fetch them with `git lfs pull`"},
      {"<", "a page in HTML or XML, no weights: fetch the file again"},
      {"GGUF", "a GGUF file: name it with the ending .gguf as the model"},
      {"PK\x03\x04",
       "a file of torch.save, which can run code when it is loaded and is not read: convert it "
       "with "
       "transformers' save_pretrained(folder, safe_serialization=True)"}};
  for (const auto& [start, what] : kinds) {
    // A header's length begins with small bytes; "<" alone is one.
    const bool is_page = start != "<" || absl::StartsWithIgnoreCase(begin, "<!doctype") ||
                         absl::StartsWithIgnoreCase(begin, "<html") ||
                         absl::StartsWithIgnoreCase(begin, "<?xml");
    if (is_page && absl::StartsWith(begin, start))
      return absl::InvalidArgumentError(absl::StrCat(path, ": is ", what));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t byte_size(StoredType type) { return info_of(type).bytes; }
const char* name(StoredType type) { return info_of(type).name; }

absl::StatusOr<Header> read_header(const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(path));
  if (file.size() < kLengthBytes) {
    return absl::DataLossError(
        absl::StrCat(path, ": has ", file.size(), " bytes, too few for a safetensors file"));
  }
  unsigned char raw[kLengthBytes];
  SWAGE_RETURN_IF_ERROR(file.read(0, kLengthBytes, raw));
  uint64_t length = 0;
  for (int i = 0; i < kLengthBytes; ++i) length |= uint64_t{raw[i]} << (8 * i);
  SWAGE_RETURN_IF_ERROR(check_kind(path, file));
  if (length > uint64_t{kMaxHeaderBytes}) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the header claims ", length,
                                                   " bytes, at most ", kMaxHeaderBytes,
                                                   " are allowed: this is no safetensors file"));
  }
  const int64_t data_begin = kLengthBytes + static_cast<int64_t>(length);
  if (data_begin > file.size()) {
    return absl::DataLossError(absl::StrCat(path, ": the header claims ", length,
                                            " bytes, the file has ", file.size(),
                                            ": it is truncated or damaged"));
  }
  std::string text(length, '\0');
  SWAGE_RETURN_IF_ERROR(file.read(kLengthBytes, static_cast<int64_t>(length), text.data()));
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(text, &reader)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", reader.problem()));
  }
  Header header = reader.take_header();
  SWAGE_RETURN_IF_ERROR(place(path, data_begin, file.size() - data_begin, &header));
  return header;
}

}  // namespace swage::io
