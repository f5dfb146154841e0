#include "swage/io/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

namespace swage::io {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() /
        (std::string("swage-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }

  static std::string safetensors(const std::string& header, const std::string& data) {
    std::string length(8, '\0');
    for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
    return length + header + data;
  }

  // A file whose tensors of four bytes have these names.
  std::string shard(const std::string& file, const std::vector<std::string>& tensors) const {
    std::string header = "{", data;
    for (const std::string& tensor : tensors) {
      if (header.size() > 1) header += ",";
      header += "\"" + tensor + R"(":{"dtype":"F32","shape":[1],"data_offsets":[)" +
                std::to_string(data.size()) + "," + std::to_string(data.size() + 4) + "]}";
      data += "four";
    }
    return write(file, safetensors(header + "}", data));
  }

  void index(const std::string& map) const {
    write("model.safetensors.index.json", R"({"weight_map":)" + map + "}");
  }

  std::string message(const std::string& header, const std::string& data = "") const {
    return std::string(
        read_header(write("file.safetensors", safetensors(header, data))).status().message());
  }
  std::string folder_message() const {
    return std::string(checkpoint_files(folder_.string()).status().message());
  }

  fs::path folder_;
};

using SafetensorsHeader = Files;
using CheckpointFolder = Files;
using AtomicFile = Files;

TEST_F(SafetensorsHeader, TellsTypesShapesAndPlacesInTheFile) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]},)"
      R"("a":{"dtype":"I64","shape":[],"data_offsets":[0,8]}} )";
  const auto found = read_header(write("x", safetensors(header, "0123456789ab")));
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 2u);
  const int64_t data = 8 + static_cast<int64_t>(header.size());
  EXPECT_EQ(found->at("a").type, StoredType::kI64);
  EXPECT_THAT(found->at("a").shape, IsEmpty());
  EXPECT_EQ(found->at("a").begin, data);
  EXPECT_THAT(found->at("b").shape, ElementsAre(2, 1));
  EXPECT_EQ(found->at("b").end, data + 12);
  EXPECT_STREQ(name(found->at("b").type), "BF16");
}

TEST_F(SafetensorsHeader, AcceptsEmptyTensorsAndNoTensors) {
  EXPECT_EQ(
      message(
          R"({"e":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},"f":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
          "x"),
      "");
  EXPECT_EQ(message("{}"), "");
}

TEST_F(SafetensorsHeader, RejectsFilesThatAreCut) {
  EXPECT_THAT(read_header(write("x", "seven b")).status().message(),
              HasSubstr("has 7 bytes, too few for a safetensors file"));
  EXPECT_THAT(read_header(write("x", safetensors("{}", "").substr(0, 9))).status().message(),
              HasSubstr("the header claims 2 bytes, the file has 9: it is truncated or damaged"));
  EXPECT_THAT(
      message(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234"),
      HasSubstr("tensor \"a\" ends at byte 8 of the data, which has 4: the file is truncated"));
}

TEST_F(SafetensorsHeader, RejectsLengthsBeyondTheLimit) {
  EXPECT_THAT(
      read_header(write("x", std::string(8, '\xFF') + "{}")).status().message(),
      HasSubstr("the header claims 18446744073709551615 bytes, at most 100000000 are allowed"));
}

TEST_F(SafetensorsHeader, RejectsHolesOverlapsAndBytesOfNoTensor) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  EXPECT_THAT(
      message(two("[0,4]", "[5,9]"), "123456789"),
      HasSubstr("tensor \"b\" begins at byte 5 of the data, expected 4: the ranges leave a hole"));
  EXPECT_THAT(
      message(two("[0,4]", "[3,7]"), "1234567"),
      HasSubstr("tensor \"b\" begins at byte 3 of the data, expected 4: the ranges overlap"));
  EXPECT_THAT(
      message(two("[0,4]", "[4,8]"), "1234567890"),
      HasSubstr(
          "the tensors end at byte 8 of the data, which has 10: 2 bytes belong to no tensor"));
}

TEST_F(SafetensorsHeader, RejectsRangesThatDoNotFitTheShape) {
  EXPECT_THAT(message(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "12345678"),
              HasSubstr("tensor \"a\": bytes 0 to 8 do not fit F32 [3], which takes 12"));
  EXPECT_THAT(
      message(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"),
      HasSubstr("tensor \"a\": the product of its shape overflows"));
  EXPECT_THAT(message(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", "x"),
              HasSubstr("bytes 1 to 0 do not fit"));
  EXPECT_THAT(message(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", "x"),
              HasSubstr("1 data_offsets, expected 2"));
  EXPECT_THAT(message(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", "x"),
              HasSubstr("the number -1 is out of place at \"shape\""));
  EXPECT_THAT(
      message(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,1]}})", "x"),
      HasSubstr("is too large"));
}

TEST_F(SafetensorsHeader, RejectsWhatIsNoHeader) {
  EXPECT_THAT(message("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(message("{\"a\":"), HasSubstr("the header is not valid JSON at its byte"));
  EXPECT_THAT(message("{\"a\":{\"shape\":" + std::string(100000, '[')),
              HasSubstr("tensor \"a\": a list is out of place at \"shape\""));
  EXPECT_THAT(message(R"({"a":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}})", "12345678"),
              HasSubstr("tensor \"a\": dtype \"U64\" is not read; read are F64, F32"));
  EXPECT_THAT(message(R"({"a":{"dtype":"U8","shape":[1]}})"),
              HasSubstr("tensor \"a\": \"data_offsets\" is missing"));
  EXPECT_THAT(message(R"({"a":{"dtype":"U8","kind":1}})"),
              HasSubstr("tensor \"a\": the key \"kind\" is unknown"));
  EXPECT_THAT(message(R"({"a":7})"), HasSubstr("tensor \"a\": the number 7 is out of place"));
  EXPECT_THAT(message(R"({"__metadata__":{"format":{}}})"), HasSubstr("an object is out of place"));
}

TEST_F(SafetensorsHeader, RejectsNamesThatStandThereTwice) {
  const std::string one = R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_THAT(message("{" + one + "," + one + "}"), HasSubstr("tensor \"a\": stands there twice"));
  EXPECT_THAT(message(R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
              HasSubstr("\"dtype\" stands there twice"));
}

TEST_F(CheckpointFolder, TakesTheSingleFileOrWhatTheIndexNames) {
  const std::string first = shard("model-00001-of-00002.safetensors", {"a", "b"}),
                    second = shard("model-00002-of-00002.safetensors", {"c"});
  index(
      R"({"a":"model-00001-of-00002.safetensors","b":"model-00001-of-00002.safetensors","c":"model-00002-of-00002.safetensors"})");
  EXPECT_THAT(*checkpoint_files(folder_.string()), ElementsAre(first, second));
  EXPECT_EQ(read_checkpoint_header(folder_.string())->size(), 3u);
  const std::string single = shard("model.safetensors", {"a"});
  EXPECT_THAT(*checkpoint_files(folder_.string()), ElementsAre(single));
}

TEST_F(CheckpointFolder, RejectsIndexThatLeavesTheFolder) {
  for (const std::string file : {"../x.safetensors", "/etc/x.safetensors", "sub/x.safetensors",
                                 "..\\\\x.safetensors", "x.bin", ""}) {
    index(R"({"a":")" + file + "\"}");
    EXPECT_THAT(folder_message(),
                HasSubstr("expected the plain name of a .safetensors file beside the index"))
        << file;
  }
  index(R"({"a":7})");
  EXPECT_THAT(folder_message(),
              HasSubstr("tensor \"a\" has an integer for its file, expected a name"));
  for (const char* map : {"{}", "[]", "7", "null"}) {
    index(map);
    EXPECT_THAT(folder_message(), HasSubstr("expected a table from tensors to files")) << map;
  }
  index(R"({"a":{"b":"one.safetensors"}})");
  EXPECT_THAT(folder_message(), HasSubstr("tensor \"a\" has a table for its file"));
  index(R"({"a":"one.safetensors")");
  EXPECT_THAT(folder_message(), HasSubstr("this is not valid JSON"));
}

TEST_F(CheckpointFolder, ReadsNothingElseOfAnIndex) {
  const std::string only = shard("one.safetensors", {"a"});
  write(
      "model.safetensors.index.json",
      R"({"metadata":{"weight_map":{"x":7},"list":[[1],{"y":null}]},"weight_map":{"a":"one.safetensors"},"more":true})");
  EXPECT_THAT(*checkpoint_files(folder_.string()), ElementsAre(only));
}

TEST_F(CheckpointFolder, NamesMissingShardsAndTensors) {
  shard("one.safetensors", {"a"});
  index(R"({"a":"one.safetensors","b":"two.safetensors","c":"three.safetensors"})");
  EXPECT_THAT(folder_message(), HasSubstr("2 of 3 shards are missing: three.safetensors, "
                                          "two.safetensors; fetch the checkpoint again"));
  index(R"({"a":"one.safetensors","b":"one.safetensors"})");
  EXPECT_THAT(read_checkpoint_header(folder_.string()).status().message(),
              HasSubstr("tensor \"b\" is not there, although"));
}

TEST_F(CheckpointFolder, RejectsTensorsThatTwoFilesHold) {
  shard("one.safetensors", {"a", "b"}), shard("two.safetensors", {"b"});
  index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  EXPECT_THAT(read_checkpoint_header(folder_.string()).status().message(),
              HasSubstr("tensor \"b\" also lies in another file"));
}

TEST_F(CheckpointFolder, AdvisesOnFoldersWithoutSafetensors) {
  EXPECT_THAT(folder_message(),
              HasSubstr("holds neither model.safetensors nor model.safetensors.index.json"));
  write("pytorch_model.bin", "");
  EXPECT_THAT(folder_message(), HasSubstr("it holds pytorch_model.bin, which can run code when "
                                          "they are loaded and are not read: convert"));
  write("model-00001-of-00002.safetensors", "");
  EXPECT_THAT(folder_message(), HasSubstr("but shards need their index"));
  write("model.gguf", "");
  EXPECT_THAT(*checkpoint_files(folder_.string()), ElementsAre(path("model.gguf")));
  EXPECT_THAT(checkpoint_files(path("none")).status().message(),
              HasSubstr("there is no such folder"));
}

TEST_F(AtomicFile, HoldsOldOrNewContent) {
  const std::string file = path("file");
  ASSERT_TRUE(write_file_atomically(file, "old").ok());
  ASSERT_TRUE(write_file_atomically(file, "new content").ok());
  EXPECT_EQ(*read_file(file), "new content");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(AtomicFile, LeavesNothingOfWhatDoesNotFit) {
  const std::string file = path("file");
  ASSERT_TRUE(write_file_atomically(file, "old").ok());
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const absl::Status status = write_file_atomically(file, std::string(10000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(),
              HasSubstr(file + ": cannot be written (File too large); free some space"));
  EXPECT_EQ(*read_file(file), "old");
  EXPECT_FALSE(fs::exists(file + ".tmp"));
}

TEST_F(AtomicFile, NamesWhatCannotBeReadOrWritten) {
  EXPECT_THAT(read_file(path("none")).status().message(),
              HasSubstr("cannot be opened (No such file or directory)"));
  EXPECT_THAT(read_file(folder_.string()).status().message(),
              HasSubstr("this is a folder, expected a file"));
  EXPECT_THAT(read_file(write("long", "12345"), 4).status().message(),
              HasSubstr("has 5 bytes, expected at most 4"));
  EXPECT_THAT(write_file_atomically(path("no/file"), "x").message(),
              HasSubstr("cannot be created (No such file or directory)"));
}

}  // namespace
}  // namespace swage::io
