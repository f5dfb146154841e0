// Writing GGUF: header, keys and tensors that follow each other, each padded.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>

#include "../base/io/posix_file.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "swage/io/gguf.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr int64_t kAlignment = 32;  // what a file without "general.alignment" has
constexpr size_t kMaxName = 63;
constexpr uint32_t kVersion = 3;

int64_t padded(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

template <class T>
void put(T number, std::string* out) {
  char bytes[sizeof number];
  std::memcpy(bytes, &number, sizeof number);
  out->append(bytes, sizeof number);
}

void put_text(const std::string& text, std::string* out) {
  put<uint64_t>(text.size(), out);
  out->append(text);
}

// The integer as T; false where it is none or does not fit.
template <class T>
bool put_integer(const Value& value, std::string* out) {
  const int64_t* const number = value.integer();
  if (number == nullptr) return false;
  const bool fits = std::is_same_v<T, uint64_t>
                        ? *number >= 0
                        : *number >= static_cast<int64_t>(std::numeric_limits<T>::min()) &&
                              static_cast<uint64_t>(std::max<int64_t>(*number, 0)) <=
                                  static_cast<uint64_t>(std::numeric_limits<T>::max());
  if (fits) put<T>(static_cast<T>(*number), out);
  return fits;
}

template <class T>
bool put_float(const Value& value, std::string* out) {
  double number = 0;
  if (!value.number(&number)) return false;
  put<T>(static_cast<T>(number), out);
  return true;
}

bool put_value(GgufType type, const Value& value, std::string* out) {
  switch (type) {
    case GgufType::kU8:
      return put_integer<uint8_t>(value, out);
    case GgufType::kI8:
      return put_integer<int8_t>(value, out);
    case GgufType::kU16:
      return put_integer<uint16_t>(value, out);
    case GgufType::kI16:
      return put_integer<int16_t>(value, out);
    case GgufType::kU32:
      return put_integer<uint32_t>(value, out);
    case GgufType::kI32:
      return put_integer<int32_t>(value, out);
    case GgufType::kU64:
      return put_integer<uint64_t>(value, out);
    case GgufType::kI64:
      return put_integer<int64_t>(value, out);
    case GgufType::kF32:
      return put_float<float>(value, out);
    case GgufType::kF64:
      return put_float<double>(value, out);
    case GgufType::kBool:
      if (value.boolean() == nullptr) return false;
      out->push_back(*value.boolean() ? 1 : 0);
      return true;
    case GgufType::kText:
      if (value.text() == nullptr) return false;
      put_text(*value.text(), out);
      return true;
    case GgufType::kArray:
      return false;  // of an array
  }
  return false;
}

absl::Status put_key(const GgufKey& key, std::string* out) {
  put_text(key.name, out);
  put(static_cast<uint32_t>(key.type), out);
  bool fits = false;
  if (key.type != GgufType::kArray) {
    fits = put_value(key.type, key.value, out);
  } else if (const Value::List* const items = key.value.list()) {
    put(static_cast<uint32_t>(key.items), out);
    put<uint64_t>(items->size(), out);
    fits = std::all_of(items->begin(), items->end(),
                       [&](const Value& item) { return put_value(key.items, item, out); });
  }
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the key \"", key.name, "\" has a ",
                                                 key.value.type_name(),
                                                 ", which its type of metadata cannot hold"));
}

absl::Status check_entry(const GgufEntry& entry) {
  const auto wrong = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat("tensor \"", entry.name, "\": ", what));
  };
  if (entry.name.empty() || entry.name.size() > kMaxName)
    return wrong(absl::StrCat("names have 1 to ", kMaxName, " bytes in llama.cpp"));
  const GgufBlock block = gguf_block(entry.type);
  if (block.values == 0) return wrong("an unknown type");
  if (entry.shape.empty() || entry.shape.size() > 4)
    return wrong(absl::StrCat(entry.shape.size(), " dimensions, expected 1 to 4"));
  if (entry.shape.back() % block.values != 0)
    return wrong(absl::StrCat("rows of ", entry.shape.back(), " values, expected a multiple of ",
                              block.values, " for ", gguf_type_name(entry.type)));
  return absl::OkStatus();
}

absl::StatusOr<std::string> header_of(const std::vector<GgufKey>& keys,
                                      const std::vector<GgufEntry>& entries) {
  std::string out = "GGUF";
  put(kVersion, &out);
  put<uint64_t>(entries.size(), &out);
  put<uint64_t>(keys.size(), &out);
  std::set<std::string> names;
  for (const GgufKey& key : keys) {
    if (!names.insert(key.name).second)
      return absl::InvalidArgumentError(absl::StrCat("the key \"", key.name, "\" is given twice"));
    SWAGE_RETURN_IF_ERROR(put_key(key, &out));
  }
  names.clear();
  int64_t offset = 0;
  for (const GgufEntry& entry : entries) {
    SWAGE_RETURN_IF_ERROR(check_entry(entry));
    if (!names.insert(entry.name).second)
      return absl::InvalidArgumentError(absl::StrCat("tensor \"", entry.name, "\" is given twice"));
    put_text(entry.name, &out);
    put(static_cast<uint32_t>(entry.shape.size()), &out);
    for (size_t i = entry.shape.size(); i > 0; --i)
      put(static_cast<uint64_t>(entry.shape[i - 1]), &out);
    put(entry.type, &out);
    put(static_cast<uint64_t>(offset), &out);
    offset += padded(entry.bytes());
  }
  out.resize(static_cast<size_t>(padded(static_cast<int64_t>(out.size()))));
  return out;
}

absl::Status write_entry(const GgufEntry& entry, OutputFile* file) {
  int64_t written = 0;
  SWAGE_RETURN_IF_ERROR(entry.write([&](const at::Tensor& piece) {
    const at::Tensor bytes = piece.contiguous();
    written += static_cast<int64_t>(bytes.nbytes());
    return file->write(bytes.const_data_ptr(), static_cast<int64_t>(bytes.nbytes()));
  }));
  if (written != entry.bytes())
    return absl::InternalError(absl::StrCat("tensor \"", entry.name, "\" came in ", written,
                                            " bytes, expected ", entry.bytes()));
  return file->write(std::string(static_cast<size_t>(padded(written) - written), '\0'));
}

GgufKey integer_key(const char* name, GgufType type, size_t value) {
  return {name, type, Value(static_cast<int64_t>(value)), GgufType::kU32};
}

}  // namespace

int64_t GgufEntry::bytes() const {
  const GgufBlock block = gguf_block(type);
  int64_t values = 1;
  for (const int64_t size : shape) values *= size;
  return values / block.values * block.bytes;
}

absl::Status write_gguf(const std::string& path, const std::vector<GgufKey>& keys,
                        const std::vector<GgufEntry>& entries) {
  auto header = header_of(keys, entries);
  if (!header.ok()) return annotate(header.status(), path);
  SWAGE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::create(path));
  SWAGE_RETURN_IF_ERROR(file.write(*header));
  for (const GgufEntry& entry : entries) SWAGE_RETURN_IF_ERROR(write_entry(entry, &file));
  return file.commit();
}

absl::Status write_split_gguf(const std::string& directory, const std::string& stem,
                              std::vector<GgufKey> keys, const std::vector<GgufEntry>& entries,
                              int64_t part_bytes) {
  const std::filesystem::path folder(directory);
  std::vector<std::vector<GgufEntry>> parts(1);
  int64_t filled = 0;
  for (const GgufEntry& entry : entries) {
    const int64_t bytes = padded(entry.bytes());
    if (!parts.back().empty() && filled + bytes > part_bytes) parts.emplace_back(), filled = 0;
    filled += bytes;
    parts.back().push_back(entry);
  }
  if (parts.size() == 1) return write_gguf((folder / (stem + ".gguf")).string(), keys, entries);
  for (size_t i = 0; i < parts.size(); ++i) {
    keys.push_back(integer_key("split.no", GgufType::kU16, i));
    keys.push_back(integer_key("split.count", GgufType::kU16, parts.size()));
    keys.push_back(integer_key("split.tensors.count", GgufType::kI32, entries.size()));
    SWAGE_RETURN_IF_ERROR(write_gguf(
        (folder / absl::StrFormat("%s-%05d-of-%05d.gguf", stem, i + 1, parts.size())).string(),
        keys, parts[i]));
    keys.clear();  // what the model is stands in its first part
  }
  return absl::OkStatus();
}

}  // namespace swage::io
