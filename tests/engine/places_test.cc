// What lies on the user's disk is never removed, and files of a checkpoint are not lost on the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "core/engine/export_place.h"
#include "swage/io/checkpoint.h"
#include "swage/io/safetensors_header.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class Places : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories(fs::path(path(name)).parent_path());
    std::ofstream(path(name)) << text;
  }
  fs::path folder_;
};

TEST_F(Places, AFolderThatWasFilledMeanwhileIsLeftAsItIs) {
  ExportPlace place(path("out"), path("work"));
  ASSERT_TRUE(place.reserve().ok());
  const std::string unfinished = place.begin(Value()).value();
  write("out/precious.txt", "mine");
  const absl::Status status = place.publish();
  EXPECT_THAT(status.message(), HasSubstr("filled by somebody else"));
  EXPECT_TRUE(fs::exists(path("out/precious.txt")));
  EXPECT_TRUE(fs::exists(unfinished));
}

TEST_F(Places, AFolderBesideTheExportThatAnotherMadeIsLeftAsItIs) {
  ExportPlace place(path("out"), path("work"));
  const std::string unfinished = place.begin(Value()).value();
  const Value identity = place.identity().value();
  write(fs::path(unfinished).filename().string() + "/x", "half");
  // The run's own goes on with a new one; a stranger's is refused.
  EXPECT_THAT(place.begin(Value()).status().message(), HasSubstr("was not made by this run"));
  EXPECT_TRUE(fs::exists(unfinished + "/x"));
  EXPECT_TRUE(place.begin(identity).ok());
  EXPECT_FALSE(fs::exists(unfinished + "/x"));
}

TEST_F(Places, TwoRunsDoNotShareAnExport) {
  ExportPlace first(path("out"), path("a")), second(path("out"), path("b"));
  ASSERT_TRUE(first.reserve().ok());
  EXPECT_THAT(second.reserve().message(), HasSubstr("another run writes its export there"));
  EXPECT_TRUE(fs::exists(path("out")));
}

TEST_F(Places, AnUnusedPlaceLeavesNothing) {
  { ASSERT_TRUE(ExportPlace(path("out"), path("work")).reserve().ok()); }
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(Places, AFinishedFolderIsKnownByItsIdentity) {
  ExportPlace place(path("out"), path("work"));
  ASSERT_TRUE(place.reserve().ok());
  ASSERT_TRUE(place.begin(Value()).ok());
  const Value identity = place.identity().value();
  EXPECT_FALSE(place.is_published(identity));
  ASSERT_TRUE(place.publish().ok());
  EXPECT_TRUE(place.is_published(identity));
}

class SideFiles : public Places {
 protected:
  void SetUp() override {
    Places::SetUp();
    const fs::path model = fs::path(std::getenv("SWAGE_SOURCE_DIR")) / "tests/data/parity/llama";
    fs::create_directories(path("m"));
    for (const char* name : {"config.json", "model.safetensors"})
      fs::copy(model / name, path(std::string("m/") + name));
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    const auto checkpoint = io::open_checkpoint(path("m"));
    const auto files = (*checkpoint)->side_files().value();
    for (const auto& [name, content] : files) all.push_back(name);
    return all;
  }
};

TEST_F(SideFiles, AreAllButWeightsAndWhatBelongsToThem) {
  for (const char* name : {"tekken.json", "additional_chat_templates/rag.jinja", "LICENSE",
                           "code/modeling.py", "pytorch_model.bin", "pytorch_model.bin.index.json",
                           ".git/config", "onnx/model.onnx", "onnx/config.json", "a.gguf"})
    write(std::string("m/") + name, "{}");
  EXPECT_THAT(names(), testing::ElementsAre("LICENSE", "additional_chat_templates/rag.jinja",
                                            "code/modeling.py", "tekken.json"));
}

TEST_F(SideFiles, LinksLeadNowhereElse) {
  write("secret", "key");
  fs::create_symlink("../secret", path("m/notes.txt"));
  EXPECT_THAT(io::open_checkpoint(path("m")).status().message(), HasSubstr("outside of the model"));
  fs::remove(path("m/notes.txt"));
  fs::create_symlink("../blobs/gone", path("m/tokenizer_config.json"));
  EXPECT_THAT(io::open_checkpoint(path("m")).status().message(), HasSubstr("leads nowhere"));
}

TEST_F(SideFiles, LinksOfTheHubsCacheAreFollowed) {
  write("hub/blobs/abc", "{}");
  fs::create_directories(path("hub/snapshots"));
  fs::rename(path("m"), path("hub/snapshots/rev"));
  fs::create_symlink("../../blobs/abc", path("hub/snapshots/rev/tokenizer_config.json"));
  const auto checkpoint = io::open_checkpoint(path("hub/snapshots/rev"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->side_files().value().at(0).second, "{}");
}

TEST_F(SideFiles, PipesAndDevicesAreNoFiles) {
  fs::remove(path("m/config.json"));
  ASSERT_EQ(mkfifo(path("m/config.json").c_str(), 0644), 0);
  EXPECT_THAT(io::open_checkpoint(path("m")).status().message(), HasSubstr("is a pipe"));
  EXPECT_THAT(io::read_file("/dev/zero", 100).status().message(), HasSubstr("is a device"));
  fs::remove(path("m/config.json"));
  write("m/config.json", "{}");
  ASSERT_EQ(mkfifo(path("m/tokenizer_config.json").c_str(), 0644), 0);
  EXPECT_THAT(io::open_checkpoint(path("m")).status().message(),
              AllOf(HasSubstr("tokenizer_config.json: is a pipe"), HasSubstr("expected a file")));
}

TEST_F(SideFiles, AnEmptyJsonFileDoesNotCountAsAbsent) {
  write("m/generation_config.json", "");
  const auto checkpoint = io::open_checkpoint(path("m"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT((*checkpoint)->side_files().status().message(),
              HasSubstr("generation_config.json: is empty, expected JSON"));
}

TEST_F(SideFiles, ADanglingConfigIsNamedAsALink) {
  fs::remove(path("m/config.json"));
  fs::create_symlink("../blobs/gone", path("m/config.json"));
  EXPECT_THAT(io::open_checkpoint(path("m")).status().message(),
              HasSubstr("config.json: is a link to \"../blobs/gone\", which leads nowhere"));
}

TEST_F(SideFiles, WhatIsNoModelIsNamedAsWhatItIs) {
  write("m/model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:aa\n");
  EXPECT_THAT(io::open_checkpoint(path("m")).status().message(), HasSubstr("git lfs pull"));
  fs::remove(path("m/model.safetensors"));
  write("m/adapter_config.json", "{}");
  EXPECT_THAT(io::open_checkpoint(path("m")).status().message(), HasSubstr("merge"));
  write("x.safetensors", "");
  EXPECT_THAT(io::open_checkpoint(path("x.safetensors")).status().message(),
              HasSubstr("give the folder"));
}

}  // namespace
}  // namespace swage
