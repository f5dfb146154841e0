#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <memory>

#include "image/decode.h"
#include "swage/status.h"

namespace swage::image {
namespace {

std::string_view chunk(const WebPDemuxer* demuxer, const char* name) {
  WebPChunkIterator iterator{};
  std::string_view found;
  if (WebPDemuxGetChunk(demuxer, name, 1, &iterator) != 0)
    found = {reinterpret_cast<const char*>(iterator.chunk.bytes), iterator.chunk.size};
  WebPDemuxReleaseChunkIterator(&iterator);
  return found;
}

}  // namespace

absl::StatusOr<Picture> decode_webp(std::string_view bytes, const Limits& limits) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&data),
                                                                         WebPDemuxDelete);
  if (demuxer == nullptr)
    return absl::InvalidArgumentError("WebP: the file is damaged or ends early");
  Picture picture;
  picture.width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  picture.height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  SWAGE_RETURN_IF_ERROR(check_size(picture.height, picture.width, limits));
  picture.orientation = orientation(chunk(demuxer.get(), "EXIF"), chunk(demuxer.get(), "XMP "));

  // The decoder of animations puts the first picture into its canvas, as Pillow does.
  WebPAnimDecoderOptions options;
  SWAGE_CHECK(WebPAnimDecoderOptionsInit(&options) != 0);
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&data, &options), WebPAnimDecoderDelete);
  uint8_t* rgba = nullptr;
  int time = 0;
  if (decoder == nullptr || WebPAnimDecoderGetNext(decoder.get(), &rgba, &time) == 0)
    return absl::InvalidArgumentError("WebP: damaged data");
  const size_t pixels = static_cast<size_t>(picture.height * picture.width);
  picture.rgb.resize(pixels * 3);
  for (size_t i = 0; i < pixels; ++i) std::copy_n(rgba + 4 * i, 3, &picture.rgb[3 * i]);
  return picture;
}

}  // namespace swage::image
