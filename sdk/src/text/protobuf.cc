#include "protobuf.h"

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage::text {
namespace {

class WireReader {
 public:
  explicit WireReader(std::string_view message) : message_(message) {}
  bool done() const { return at_ == message_.size(); }

  // False: the message breaks here.
  bool next(WireField* field) {
    uint64_t key = 0;
    if (!varint(&key)) return false;
    *field = WireField{static_cast<int64_t>(key >> 3), 0, {}};
    switch (key & 7) {
      case 0:
        return varint(&field->value);
      case 1:
        return fixed(8, &field->value);
      case 2:
        return varint(&field->value) && bytes(field->value, &field->bytes);
      case 5:
        return fixed(4, &field->value);
      default:
        return false;
    }
  }
  size_t at() const { return at_; }

 private:
  bool varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && at_ < message_.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(message_[at_++]);
      *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool fixed(size_t count, uint64_t* value) {
    std::string_view raw;
    if (!bytes(count, &raw)) return false;
    *value = 0;
    for (size_t i = 0; i < count; ++i)
      *value |= static_cast<uint64_t>(static_cast<unsigned char>(raw[i])) << (8 * i);
    return true;
  }

  bool bytes(uint64_t count, std::string_view* out) {
    if (count > message_.size() - at_) return false;
    *out = message_.substr(at_, count);
    at_ += count;
    return true;
  }

  std::string_view message_;
  size_t at_ = 0;
};

}  // namespace

absl::Status visit_fields(std::string_view message,
                          const std::function<absl::Status(const WireField&)>& visit) {
  WireReader reader(message);
  while (!reader.done()) {
    const size_t begin = reader.at();
    WireField field;
    if (!reader.next(&field)) {
      return absl::InvalidArgumentError(
          absl::StrCat("no protobuf message: it breaks at byte ", begin, " of ", message.size()));
    }
    SWAGE_RETURN_IF_ERROR(visit(field));
  }
  return absl::OkStatus();
}

}  // namespace swage::text
