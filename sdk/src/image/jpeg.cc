// jpeglib.h needs the headers before it and is needed by the one after it.
// clang-format off
#include <cstddef>
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <vector>

#include "absl/strings/str_cat.h"
#include "image/decode.h"
#include "image/escape.h"
#include "swage/status.h"

namespace swage::image {
namespace {

constexpr int kMaxScans = 500;  // small progressive files can ask for millions
constexpr std::string_view kExif("Exif\0\0", 6);
constexpr std::string_view kXmp("http://ns.adobe.com/xap/1.0/\0", 29);

class JpegReader {
 public:
  explicit JpegReader(std::string_view bytes) : bytes_(bytes) {
    jpeg_.err = jpeg_std_error(&errors_);
    jpeg_.client_data = this;
    errors_.error_exit = [](j_common_ptr jpeg) { leave(jpeg); };
    errors_.emit_message = [](j_common_ptr jpeg, int level) {
      if (level < 0 && damages(jpeg->err->msg_code)) leave(jpeg);
    };
    progress_.progress_monitor = [](j_common_ptr jpeg) {
      if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > kMaxScans)
        reader(jpeg)->escape_.leave("JPEG: more than 500 scans");
    };
  }
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  absl::Status read_header() {
    return escape_.run([this] {
      jpeg_create_decompress(&jpeg_);
      jpeg_.progress = &progress_;
      jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, 0xffff);
      jpeg_mem_src(&jpeg_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
      jpeg_read_header(&jpeg_, TRUE);
      jpeg_.out_color_space = jpeg_.num_components == 4 ? JCS_CMYK : JCS_RGB;
      jpeg_calc_output_dimensions(&jpeg_);
    });
  }

  int64_t height() const { return jpeg_.output_height; }
  int64_t width() const { return jpeg_.output_width; }
  int channels() const { return jpeg_.out_color_components; }

  // [height, width, channels]
  absl::Status read_pixels(uint8_t* out) {
    return escape_.run([this, out] {
      jpeg_start_decompress(&jpeg_);
      const size_t row_size = size_t{jpeg_.output_width} * jpeg_.output_components;
      while (jpeg_.output_scanline < jpeg_.output_height) {
        JSAMPROW row = out + jpeg_.output_scanline * row_size;
        jpeg_read_scanlines(&jpeg_, &row, 1);
      }
      jpeg_finish_decompress(&jpeg_);
    });
  }

  // What the first such segment holds behind its prefix.
  std::string_view metadata(std::string_view prefix) const {
    for (auto* marker = jpeg_.marker_list; marker != nullptr; marker = marker->next) {
      const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
      if (starts_with(data, prefix)) return data.substr(prefix.size());
    }
    return {};
  }

 private:
  static JpegReader* reader(j_common_ptr jpeg) {
    return static_cast<JpegReader*>(jpeg->client_data);
  }

  [[noreturn]] static void leave(j_common_ptr jpeg) {
    char message[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, message);
    reader(jpeg)->escape_.leave(message);
  }

  // Warnings behind which pixels are made up.
  static bool damages(int code) {
    return code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE ||
           code == JWRN_MUST_RESYNC || code == JWRN_BOGUS_PROGRESSION;
  }

  std::string_view bytes_;
  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  Escape escape_;
};

// Four channels are stored inverted, as Adobe does; products are rounded as in Pillow.
std::vector<uint8_t> from_inverted_cmyk(const std::vector<uint8_t>& cmyk) {
  std::vector<uint8_t> rgb(cmyk.size() / 4 * 3);
  for (size_t i = 0; i < cmyk.size() / 4; ++i) {
    const int white = cmyk[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[4 * i + c]) * white + 128;
      rgb[3 * i + c] = static_cast<uint8_t>(white - (((product >> 8) + product) >> 8));
    }
  }
  return rgb;
}

}  // namespace

absl::StatusOr<Picture> decode_jpeg(std::string_view bytes, const Limits& limits) {
  JpegReader reader(bytes);
  SWAGE_RETURN_IF_ERROR(annotate(reader.read_header(), "JPEG"));
  SWAGE_RETURN_IF_ERROR(check_size(reader.height(), reader.width(), limits));
  Picture picture;
  picture.height = reader.height();
  picture.width = reader.width();
  picture.orientation = orientation(reader.metadata(kExif), reader.metadata(kXmp));
  picture.rgb.resize(static_cast<size_t>(picture.height * picture.width * reader.channels()));
  const bool four = reader.channels() == 4;
  SWAGE_RETURN_IF_ERROR(annotate(reader.read_pixels(picture.rgb.data()), "JPEG"));
  if (four) picture.rgb = from_inverted_cmyk(picture.rgb);
  return picture;
}

}  // namespace swage::image
