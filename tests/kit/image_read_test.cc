#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "image_support.h"
#include "swage/image/image.h"

namespace swage::image {
namespace {

using test::file_bytes;
using test::image_path;
using testing::HasSubstr;

class ReadImage : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  absl::StatusOr<at::Tensor> read_bytes(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    return read_image(path_);
  }

  void expect_refused(const std::string& bytes, const std::string& reason) {
    const absl::Status status = read_bytes(bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(reason));
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  }

  const std::string path_ =
      testing::TempDir() + testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(ReadImage, GivesThePixelsThatTransformersLoads) {
  const Value::Table& pictures = *test::expected_images()["pictures"].table();
  EXPECT_GE(pictures.size(), 35u);
  for (const auto& [name, expected] : pictures) {
    const auto rgb = read_image(image_path(name));
    ASSERT_TRUE(rgb.ok()) << rgb.status();
    EXPECT_EQ(test::digest(*rgb), test::digest(expected)) << name;
    EXPECT_TRUE(rgb->is_contiguous()) << name;
  }
}

TEST_F(ReadImage, KnowsAFormatByItsBytesAndNotByItsName) {
  const auto rgb = read_bytes(file_bytes(image_path("rgb.png")));
  ASSERT_TRUE(rgb.ok()) << rgb.status();
  EXPECT_EQ(test::digest(*rgb), test::digest(test::expected_images()["pictures"]["rgb.png"]));
}

TEST_F(ReadImage, TurnsAPictureAsItsOrientationSays) {
  const at::Tensor plain = *read_image(image_path("turned_1.jpg"));
  const at::Tensor turned = *read_image(image_path("turned_6.jpg"));
  EXPECT_EQ(turned.sizes(), (at::IntArrayRef{14, 9, 3}));
  EXPECT_TRUE(turned.equal(plain.transpose(0, 1).flip({1})));  // top left came from bottom left
}

TEST_F(ReadImage, RefusesFilesThatEndEarly) {
  for (const char* name : {"jpeg_420.jpg", "jpeg_progressive.jpg", "rgb.png", "interlaced.png",
                           "lossy.webp", "lossless.webp"}) {
    const std::string bytes = file_bytes(image_path(name));
    ASSERT_GT(bytes.size(), 100u) << name;
    for (const size_t cut : {size_t{1}, bytes.size() / 3, bytes.size() / 2, bytes.size() - 20}) {
      EXPECT_EQ(read_bytes(bytes.substr(0, bytes.size() - cut)).status().code(),
                absl::StatusCode::kInvalidArgument)
          << name << " without its last " << cut << " bytes";
    }
  }
}

TEST_F(ReadImage, RefusesJpegsWithDamagedData) {
  std::string bytes = file_bytes(image_path("jpeg_444.jpg"));
  bytes.replace(bytes.size() / 2, 2, "\xff\xd9");  // an end in the middle
  expect_refused(bytes, "JPEG: Corrupt JPEG data");
}

TEST_F(ReadImage, RefusesPngsWithWrongChecksums) {
  std::string bytes = file_bytes(image_path("rgb.png"));
  bytes[bytes.size() / 2] ^= 1;
  expect_refused(bytes, "PNG: IDAT");
}

TEST_F(ReadImage, RefusesColoursBeyondThePalette) {
  std::string bytes = file_bytes(image_path("palette.png"));
  const size_t palette = bytes.find("PLTE") - 4;
  const size_t size = static_cast<uint8_t>(bytes[palette + 3]);
  ASSERT_GT(size, 3u);
  boost::crc_32_type crc;  // one colour is left
  crc.process_bytes(bytes.data() + palette + 4, 4 + 3);
  std::string shorter("\0\0\0\3", 4);
  shorter += bytes.substr(palette + 4, 4 + 3);
  for (int shift = 24; shift >= 0; shift -= 8)
    shorter += static_cast<char>(crc.checksum() >> shift & 255);
  expect_refused(bytes.substr(0, palette) + shorter + bytes.substr(palette + 12 + size),
                 "of a palette of 1");
}

TEST_F(ReadImage, RefusesSizesBeyondTheLimitBeforeItAllocates) {
  std::string bytes = file_bytes(image_path("rgb.png"));
  bytes.replace(16, 8, std::string("\0\1\0\0\0\1\0\0", 8));  // 65536 x 65536
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data() + 12, 17);
  for (int i = 0; i < 4; ++i)
    bytes[29 + static_cast<size_t>(i)] = static_cast<char>(crc.checksum() >> (24 - 8 * i) & 255);
  expect_refused(bytes, "65536 x 65536 pixels; 1 to 134217728 are read");
  bytes = file_bytes(image_path("jpeg_444.jpg"));
  const size_t frame = bytes.find("\xff\xc0");
  bytes.replace(frame + 5, 4, "\xfd\xe8\xfd\xe8");  // 65000 x 65000
  expect_refused(bytes, "65000 x 65000");
}

TEST_F(ReadImage, SaysWhatItFoundInsteadOfAPicture) {
  expect_refused("GIF89a and so on", "begins with \"GIF89a a\": neither JPEG nor PNG nor WebP");
  expect_refused("RIFF", "begins with \"RIFF\"");
  expect_refused("", "the file is empty");
  std::filesystem::remove(path_);
  EXPECT_EQ(read_image(path_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(read_image(testing::TempDir()).ok());
}

}  // namespace
}  // namespace swage::image
