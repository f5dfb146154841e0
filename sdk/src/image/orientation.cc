#include "image/decode.h"

namespace swage::image {
namespace {

// EXIF is a TIFF file without pixels: a header, then tables of 12-byte entries.
class Tiff {
 public:
  explicit Tiff(std::string_view bytes) : bytes_(bytes), big_(starts_with(bytes, "MM")) {}

  int orientation() const {
    if (!big_ && !starts_with(bytes_, "II")) return 0;
    if (number(2, 2) != 42) return 0;
    const size_t table = number(4, 4);
    const size_t entries = number(table, 2);
    for (size_t i = 0; i < entries; ++i) {
      const size_t entry = table + 2 + 12 * i;
      if (entry + 12 > bytes_.size()) return 0;
      if (number(entry, 2) != kOrientation || number(entry + 4, 4) != 1) continue;
      const size_t type = number(entry + 2, 2);
      if (type == kShort) return static_cast<int>(number(entry + 8, 2));
      if (type == kLong) return static_cast<int>(number(entry + 8, 4));
    }
    return 0;
  }

 private:
  static constexpr size_t kOrientation = 0x0112, kShort = 3, kLong = 4;

  // 0 beyond the end.
  size_t number(size_t at, size_t size) const {
    if (at > bytes_.size() || bytes_.size() - at < size) return 0;
    size_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      const size_t index = big_ ? at + i : at + size - 1 - i;
      value = value << 8 | static_cast<uint8_t>(bytes_[index]);
    }
    return value;
  }

  std::string_view bytes_;
  bool big_;
};

// tiff:Orientation="6" or <tiff:Orientation>6<
int in_xmp(std::string_view text) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (size_t at = text.find(kName); at != std::string_view::npos; at = text.find(kName, at + 1)) {
    std::string_view rest = text.substr(at + kName.size());
    const size_t skip = starts_with(rest, ">") ? 1 : starts_with(rest, "=\"") ? 2 : 0;
    rest.remove_prefix(skip);
    if (skip > 0 && !rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
  }
  return 0;
}

}  // namespace

int orientation(std::string_view exif, std::string_view xmp) {
  int found = Tiff(exif).orientation();
  if (found == 0) found = in_xmp(xmp);
  return found >= 1 && found <= 8 ? found : 1;
}

}  // namespace swage::image
