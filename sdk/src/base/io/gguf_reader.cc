#include "gguf_reader.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "posix_file.h"
#include "swage/status.h"

namespace swage::io {
namespace {

// Items take 64 bytes in memory and as little as one in the file: a hostile file must not exhaust
// the memory.
constexpr int64_t kMaxItems = int64_t{1} << 22;
enum Type : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kText,
  kArray,
  kU64,
  kI64,
  kF64
};

// The double with the shortest decimal that reads back as this float: 1e-05 and
// not 9.999999747378752e-06.
double shortest(float value) {
  char text[32];
  for (int digits = 6; digits <= 9; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, static_cast<double>(value));
    if (std::strtof(text, nullptr) == value) return std::strtod(text, nullptr);
  }
  return value;
}

template <class T>
absl::StatusOr<Value> integer(absl::StatusOr<T> number) {
  if (!number.ok()) return number.status();
  return Value(static_cast<int64_t>(*number));
}

}  // namespace

absl::StatusOr<GgufReader> GgufReader::open(const std::string& path) {
  SWAGE_RETURN_IF_ERROR(InputFile::open(path).status());  // no pipe, no folder
  GgufReader reader;
  reader.path_ = path;
  reader.file_.open(path, std::ios::binary | std::ios::ate);
  if (!reader.file_) {
    return absl::NotFoundError(absl::StrCat(path, ": cannot be read (", std::strerror(errno), ")"));
  }
  reader.size_ = reader.file_.tellg();
  reader.file_.seekg(0);
  return reader;
}

absl::Status GgufReader::error(const std::string& what) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, ": ", what, " (at byte ", position_, ")"));
}

absl::Status GgufReader::bytes(void* out, int64_t count) {
  if (count > size_ - position_) {
    return error(absl::StrCat("the header goes on behind the end of the file (", size_,
                              " bytes): it is truncated or damaged"));
  }
  if (!file_.read(static_cast<char*>(out), count)) return error("reading broke off");
  position_ += count;
  return absl::OkStatus();
}

absl::StatusOr<std::string> GgufReader::text() {
  SWAGE_ASSIGN_OR_RETURN(const uint64_t length, number<uint64_t>());
  if (length > static_cast<uint64_t>(size_ - position_)) {
    return error(absl::StrCat("a text of ", length, " bytes leaves the file"));
  }
  std::string text(length, '\0');
  SWAGE_RETURN_IF_ERROR(bytes(text.data(), static_cast<int64_t>(length)));
  return text;
}

absl::StatusOr<Value> GgufReader::list() {
  SWAGE_ASSIGN_OR_RETURN(const uint32_t type, number<uint32_t>());
  if (type == kArray) return error("an array of arrays");
  SWAGE_ASSIGN_OR_RETURN(const uint64_t count, number<uint64_t>());
  if (count > static_cast<uint64_t>(kMaxItems - items_)) {
    return error(
        absl::StrCat("an array of ", count, " items, at most ", kMaxItems, " in all are read"));
  }
  items_ += static_cast<int64_t>(count);
  Value::List list;
  for (uint64_t i = 0; i < count; ++i) {
    SWAGE_ASSIGN_OR_RETURN(Value item, value(type));
    list.push_back(std::move(item));
  }
  return Value(std::move(list));
}

absl::StatusOr<Value> GgufReader::value(uint32_t type) {
  switch (type) {
    case kU8:
      return integer(number<uint8_t>());
    case kI8:
      return integer(number<int8_t>());
    case kU16:
      return integer(number<uint16_t>());
    case kI16:
      return integer(number<int16_t>());
    case kU32:
      return integer(number<uint32_t>());
    case kI32:
      return integer(number<int32_t>());
    case kI64:
      return integer(number<int64_t>());
    case kArray:
      return list();
    case kU64: {
      SWAGE_ASSIGN_OR_RETURN(const uint64_t number, this->number<uint64_t>());
      if (number > static_cast<uint64_t>(INT64_MAX))
        return error(absl::StrCat("the number ", number, " is too large"));
      return Value(static_cast<int64_t>(number));
    }
    case kBool: {
      SWAGE_ASSIGN_OR_RETURN(const uint8_t flag, number<uint8_t>());
      return Value(flag != 0);
    }
    case kF32: {
      SWAGE_ASSIGN_OR_RETURN(const float number, this->number<float>());
      return Value(shortest(number));
    }
    case kF64: {
      SWAGE_ASSIGN_OR_RETURN(const double number, this->number<double>());
      return Value(number);
    }
    case kText: {
      SWAGE_ASSIGN_OR_RETURN(std::string string, text());
      return Value(std::move(string));
    }
    default:
      return error(absl::StrCat("a value of the unknown type ", type));
  }
}

}  // namespace swage::io
