#include <png.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "image/decode.h"
#include "image/escape.h"
#include "swage/status.h"

namespace swage::image {
namespace {

// Bytes of one pixel. Grey of 16 bits without alpha has a layout of its own, since Pillow cuts it
// off where it scales other samples of 16 bits.
enum class Layout { kIndexed = 1, kDeepGrey = 2, kRgb = 3 };

class PngReader {
 public:
  explicit PngReader(std::string_view bytes) : rest_(bytes) {}
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  absl::Status read_header() {
    return escape_.run([this] {
      png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &escape_, leave, ignore);
      if (png_ == nullptr) escape_.leave("libpng could not be started");
      info_ = png_create_info_struct(png_);
      if (info_ == nullptr) escape_.leave("libpng could not be started");
      png_set_read_fn(png_, &rest_, take);
      png_read_info(png_, info_);
    });
  }

  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t width() const { return png_get_image_width(png_, info_); }

  Layout layout() const {
    const int color = png_get_color_type(png_, info_);
    if (color == PNG_COLOR_TYPE_PALETTE) return Layout::kIndexed;
    const bool deep = png_get_bit_depth(png_, info_) == 16;
    return deep && color == PNG_COLOR_TYPE_GRAY ? Layout::kDeepGrey : Layout::kRgb;
  }

  // [height, width] pixels of `layout`, which the file has.
  absl::Status read_pixels(Layout layout, uint8_t* out, uint8_t** rows) {
    return escape_.run([this, layout, out, rows] {
      if (layout == Layout::kIndexed) {
        png_set_packing(png_);
      } else if (layout == Layout::kRgb) {
        png_set_expand_gray_1_2_4_to_8(png_);
        png_set_strip_16(png_);
        png_set_strip_alpha(png_);
        png_set_gray_to_rgb(png_);
      }
      png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
      const size_t row_size = png_get_rowbytes(png_, info_);
      if (row_size != static_cast<size_t>(width()) * static_cast<size_t>(layout))
        escape_.leave("an unknown layout of pixels");
      for (int64_t y = 0; y < height(); ++y) rows[y] = out + static_cast<size_t>(y) * row_size;
      png_read_image(png_, rows);
      png_read_end(png_, info_);
    });
  }

  // The colours that indices count; libpng does not check indices itself where it expands them.
  absl::StatusOr<std::vector<uint8_t>> expanded(const std::vector<uint8_t>& indices) {
    png_colorp palette = nullptr;
    int colors = 0;
    png_get_PLTE(png_, info_, &palette, &colors);
    std::vector<uint8_t> rgb;
    rgb.reserve(indices.size() * 3);
    for (const uint8_t index : indices) {
      if (index >= colors) {
        return absl::InvalidArgumentError(
            absl::StrCat("colour ", index, " of a palette of ", colors));
      }
      rgb.insert(rgb.end(), {palette[index].red, palette[index].green, palette[index].blue});
    }
    return rgb;
  }

  std::string_view exif() {
    png_bytep data = nullptr;
    png_uint_32 size = 0;
    if (png_get_eXIf_1(png_, info_, &size, &data) == 0) return {};
    return {reinterpret_cast<const char*>(data), size};
  }

  std::string_view xmp() {
    png_textp texts = nullptr;
    int count = 0;
    png_get_text(png_, info_, &texts, &count);
    for (int i = 0; i < count; ++i) {
      if (std::strcmp(texts[i].key, "XML:com.adobe.xmp") == 0 && texts[i].text != nullptr)
        return texts[i].text;
    }
    return {};
  }

 private:
  [[noreturn]] static void leave(png_structp png, png_const_charp message) {
    static_cast<Escape*>(png_get_error_ptr(png))->leave(message);
  }
  static void ignore(png_structp, png_const_charp) {}

  static void take(png_structp png, png_bytep out, size_t size) {
    auto* rest = static_cast<std::string_view*>(png_get_io_ptr(png));
    if (rest->size() < size) png_error(png, "the file ends early");
    std::memcpy(out, rest->data(), size);
    rest->remove_prefix(size);
  }

  std::string_view rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  Escape escape_;
};

std::vector<uint8_t> cut_off(const std::vector<uint8_t>& grey) {
  std::vector<uint8_t> rgb(grey.size() / 2 * 3);
  for (size_t i = 0; i < grey.size() / 2; ++i) {
    const uint8_t value = grey[2 * i] > 0 ? 255 : grey[2 * i + 1];
    std::fill_n(&rgb[3 * i], 3, value);
  }
  return rgb;
}

}  // namespace

absl::StatusOr<Picture> decode_png(std::string_view bytes, const Limits& limits) {
  PngReader reader(bytes);
  SWAGE_RETURN_IF_ERROR(annotate(reader.read_header(), "PNG"));
  SWAGE_RETURN_IF_ERROR(check_size(reader.height(), reader.width(), limits));
  Picture picture;
  picture.height = reader.height();
  picture.width = reader.width();
  const Layout layout = reader.layout();
  picture.rgb.resize(static_cast<size_t>(picture.height * picture.width) *
                     static_cast<size_t>(layout));
  std::vector<uint8_t*> rows(static_cast<size_t>(picture.height));
  SWAGE_RETURN_IF_ERROR(
      annotate(reader.read_pixels(layout, picture.rgb.data(), rows.data()), "PNG"));
  picture.orientation = orientation(reader.exif(), reader.xmp());
  if (layout == Layout::kDeepGrey) picture.rgb = cut_off(picture.rgb);
  if (layout == Layout::kIndexed) {
    auto rgb = reader.expanded(picture.rgb);
    if (!rgb.ok()) return annotate(rgb.status(), "PNG");
    picture.rgb = *std::move(rgb);
  }
  return picture;
}

}  // namespace swage::image
