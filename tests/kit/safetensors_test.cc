#include "swage/io/safetensors.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "swage/io/checkpoint.h"
#include "swage/io/joined_tensors.h"

namespace swage::io {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

class Safetensors : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() /
        (std::string("swage-kit-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  std::unique_ptr<WeightSource> source(const Tensors& tensors) const {
    EXPECT_TRUE(write_safetensors(path("source.st"), tensors).ok());
    auto opened = open_safetensors({path("source.st")});
    EXPECT_TRUE(opened.ok()) << opened.status();
    fs::remove(path("source.st"));  // the open file stays readable
    return *std::move(opened);
  }

  // Runs `write` where no file may grow beyond 4 KiB: a full disk.
  template <class Write>
  static absl::Status on_a_full_disk(Write write) {
    rlimit before = {};
    getrlimit(RLIMIT_FSIZE, &before);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small = {4096, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    const absl::Status status = write();
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    return status;
  }

  fs::path folder_;
};

TEST_F(Safetensors, ReadBackEveryTypeAndShape) {
  Tensors tensors;
  for (const at::ScalarType type :
       {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kFloat8_e4m3fn, at::kFloat8_e5m2,
        at::kLong, at::kInt, at::kShort, at::kChar, at::kByte, at::kBool}) {
    tensors.emplace_back(c10::toString(type), at::arange(15, at::kFloat).view({3, 5}).to(type));
  }
  tensors.emplace_back("scalar", at::ones({}, at::kFloat));
  tensors.emplace_back("empty", at::empty({0, 4}, at::kHalf));
  tensors.emplace_back("turned", at::arange(6, at::kFloat).view({2, 3}).t());
  const auto opened = source(tensors);
  EXPECT_EQ(opened->names().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor read = *opened->read(name);
    EXPECT_EQ(*opened->dtype(name), tensor.scalar_type()) << name;
    EXPECT_EQ(*opened->shape(name), tensor.sizes().vec()) << name;
    EXPECT_EQ(read.scalar_type(), tensor.scalar_type());
    EXPECT_TRUE(at::equal(read.to(at::kDouble), tensor.to(at::kDouble))) << name;
  }
}

TEST_F(Safetensors, ReadRowsOfATensor) {
  const at::Tensor weight = at::randn({7, 3});
  const auto opened = source({{"w", weight}, {"scalar", at::ones({})}});
  EXPECT_TRUE(at::equal(*opened->read_rows("w", 2, 5), weight.narrow(0, 2, 3)));
  EXPECT_EQ(opened->read_rows("w", 4, 4)->sizes().vec(), (std::vector<int64_t>{0, 3}));
  EXPECT_THAT(opened->read_rows("w", 2, 8).status().message(),
              HasSubstr("rows 2 to 8 of tensor \"w\", which has 7"));
  EXPECT_THAT(opened->read_rows("scalar", 0, 1).status().message(), HasSubstr("which has 0"));
}

TEST_F(Safetensors, NameWhatIsNotThere) {
  const auto opened = source({{"w", at::ones({1})}});
  EXPECT_FALSE(opened->has("v"));
  EXPECT_EQ(opened->read("v").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(opened->read("v").status().message(),
              HasSubstr("source.st: there is no tensor \"v\""));
}

TEST_F(Safetensors, AreLaidOutAsTheOfficialWriterDoes) {
  const Tensors tensors = {{"a.weight_packed", at::zeros({1, 1}, at::kInt)}};
  ASSERT_TRUE(write_safetensors(path("x"), tensors).ok());
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a.weight_packed":{"dtype":"I32","shape":[1,1],"data_offsets":[0,4]}})";
  EXPECT_EQ(*read_file(path("x")),
            std::string("\x68\0\0\0\0\0\0\0", 8) + header + "   " + std::string(4, '\0'));

  ASSERT_TRUE(write_safetensors(path("y"), {{"a", at::zeros({1}, at::kByte)},
                                            {"c", at::zeros({1}, at::kHalf)},
                                            {"b", at::zeros({1}, at::kHalf)},
                                            {"d", at::zeros({1}, at::kLong)}})
                  .ok());
  const Header places = *read_header(path("y"));
  EXPECT_LT(places.at("d").begin, places.at("b").begin);
  EXPECT_LT(places.at("b").begin, places.at("c").begin);
  EXPECT_LT(places.at("c").begin, places.at("a").begin);
  EXPECT_EQ(places.at("d").begin % 8, 0);
}

TEST_F(Safetensors, NamesSurviveAnyCharacter) {
  const std::string name = "quote \" slash \\ line \n é";
  EXPECT_TRUE(source({{name, at::ones({2})}})->has(name));
}

TEST_F(Safetensors, RejectTensorsGivenTwiceOrOfOtherTypes) {
  EXPECT_THAT(write_safetensors(path("x"), {{"a", at::ones({1})}, {"a", at::ones({1})}}).message(),
              HasSubstr("tensor \"a\" is given twice"));
  EXPECT_THAT(write_safetensors(path("x"), {{"a", at::ones({1}, at::kComplexFloat)}}).message(),
              HasSubstr("tensor \"a\": safetensors files of swage hold no ComplexFloat"));
  EXPECT_THAT(files(), ElementsAre());
}

TEST_F(Safetensors, RejectTensorsThatTwoFilesHold) {
  ASSERT_TRUE(write_safetensors(path("one"), {{"a", at::ones({1})}}).ok());
  ASSERT_TRUE(write_safetensors(path("two"), {{"a", at::ones({1})}}).ok());
  EXPECT_THAT(open_safetensors({path("one"), path("two")}).status().message(),
              HasSubstr("two: tensor \"a\" also lies in " + path("one")));
}

TEST_F(Safetensors, NoticeAFileThatIsCutWhileItIsOpen) {
  ASSERT_TRUE(write_safetensors(path("x"), {{"a", at::ones({100})}}).ok());
  const auto opened = *open_safetensors({path("x")});
  fs::resize_file(path("x"), 200);
  EXPECT_EQ(opened->read("a").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(opened->read("a").status().message(),
              HasSubstr("tensor \"a\": " + path("x") + ": the file ends at byte 200"));
}

TEST_F(Safetensors, LeaveNothingOnAFullDisk) {
  const absl::Status status = on_a_full_disk([&] {
    return write_safetensors(path("x"), {{"a", at::ones({5000})}});
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("cannot be written (File too large)"));
  EXPECT_THAT(files(), ElementsAre());
}

Value tiny_config() {
  Value::Table config;
  config["model_type"] = Value("llama");
  return Value(std::move(config));
}

TEST_F(Safetensors, MakeACheckpointOfOneFile) {
  const auto weights = source({{"a.weight", at::ones({3})}});
  ASSERT_TRUE(
      write_hf_checkpoint(path("out"), *weights, tiny_config(), {{"tokenizer.json", "{}"}}, 1000)
          .ok());
  const auto checkpoint = open_checkpoint(path("out"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->config(), tiny_config());
  EXPECT_EQ((*checkpoint)->path(), path("out"));
  EXPECT_TRUE(at::equal(*(*checkpoint)->weights().read("a.weight"), at::ones({3})));
  const auto side_files = *(*checkpoint)->side_files();
  ASSERT_EQ(side_files.size(), 1u);
  EXPECT_EQ(side_files[0].first, "tokenizer.json");
  EXPECT_FALSE(fs::exists(path("out/model.safetensors.index.json")));
}

TEST_F(Safetensors, ShardACheckpointWithoutPartingAModule) {
  Tensors tensors;
  for (const int64_t layer : {0, 1, 2, 10}) {
    tensors.emplace_back(absl::StrCat("layers.", layer, ".scale"),
                         at::full({2}, static_cast<double>(layer), at::kHalf));
    tensors.emplace_back(absl::StrCat("layers.", layer, ".weight"),
                         at::full({6, 4}, static_cast<double>(layer), at::kFloat));
  }
  const auto weights = source(tensors);
  ASSERT_TRUE(write_hf_checkpoint(path("out"), *weights, tiny_config(), {}, 210).ok());
  const auto shard_files = *checkpoint_files(path("out"));
  ASSERT_EQ(shard_files.size(), 2u);
  EXPECT_EQ(fs::path(shard_files[1]).filename(), "model-00002-of-00002.safetensors");
  const Header last = *read_header(shard_files[1]);
  EXPECT_EQ(last.size(), 4u);
  EXPECT_TRUE(last.count("layers.2.weight") && last.count("layers.10.scale"));
  const Value index = *parse_json(*read_file(path("out/model.safetensors.index.json")), "index");
  EXPECT_EQ(*index["metadata"]["total_size"].integer(), 4 * 100);
  const auto checkpoint = *open_checkpoint(path("out"));
  for (const auto& [name, tensor] : tensors)
    EXPECT_TRUE(at::equal(*checkpoint->weights().read(name), tensor));
}

TEST_F(Safetensors, JoinTensorsAcrossModules) {
  Tensors tensors;
  JoinedTensors joined;
  for (const int64_t layer : {0, 1}) {
    const auto add = [&](const char* module, int64_t rows) {
      const std::string name = absl::StrCat("layers.", layer, ".", module);
      tensors.emplace_back(name + ".codes",
                           at::full({rows, 4}, static_cast<double>(rows), at::kInt));
      tensors.emplace_back(name + ".scale", at::full({rows}, 0.5, at::kHalf));
    };
    add("k", 1), add("norm", 2), add("o", 3), add("q", 4), add("v", 5);
    for (const char* part : {".codes", ".scale"}) {
      std::vector<std::string>& list = joined.emplace_back();
      for (const char* module : {"q", "k", "v"})
        list.push_back(absl::StrCat("layers.", layer, ".", module, part));
    }
  }
  const auto weights = source(tensors);
  // A shard has no room for the ten modules, nor for q, k, v beside two others.
  ASSERT_TRUE(write_joined_checkpoint(path("out"), *weights, tiny_config(), {}, 250, joined).ok());
  ASSERT_GT(checkpoint_files(path("out"))->size(), 1u);
  std::map<std::string, std::pair<std::string, TensorInfo>> found;
  const auto written = *read_checkpoint_files(path("out"));
  for (const CheckpointFile& file : written) {
    for (const auto& [name, info] : file.header) found[name] = {file.path, info};
  }
  ASSERT_EQ(found.size(), tensors.size());
  for (const auto& list : joined) {
    for (size_t i = 1; i < list.size(); ++i) {
      EXPECT_EQ(found[list[i]].first, found[list[0]].first);
      EXPECT_EQ(found[list[i]].second.begin, found[list[i - 1]].second.end) << list[i];
    }
  }
  const auto checkpoint = *open_checkpoint(path("out"));
  for (const auto& [name, tensor] : tensors)
    EXPECT_TRUE(at::equal(*checkpoint->weights().read(name), tensor));
}

TEST_F(Safetensors, CopyLargeTensorsInPieces) {
  const at::Tensor large = at::arange(9'000'000, at::kShort).view({3, -1});  // 18 MB, rows of 6 MB
  const auto weights = source({{"w", large}});
  ASSERT_TRUE(write_hf_checkpoint(path("out"), *weights, tiny_config(), {}, 1 << 30).ok());
  EXPECT_TRUE(at::equal(*(*open_safetensors({path("out/model.safetensors")}))->read("w"), large));
}

TEST_F(Safetensors, LeaveNoPartOfACheckpointOnAFullDisk) {
  const auto weights = source({{"a.w", at::ones({100})}, {"b.w", at::ones({5000})}});
  const absl::Status status = on_a_full_disk(
      [&] { return write_hf_checkpoint(path("out"), *weights, tiny_config(), {}, 500); });
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(fs::is_empty(path("out")));
}

TEST_F(Safetensors, TellACheckpointFromAChangedOne) {
  const auto write = [&](int64_t size, const char* type) {
    Value::Table config;
    config["model_type"] = Value(type);
    EXPECT_TRUE(write_hf_checkpoint(path("out"), *source({{"a", at::ones({size})}}),
                                    Value(std::move(config)), {}, 1000)
                    .ok());
    return (*open_checkpoint(path("out")))->identity();
  };
  const std::string first = write(3, "llama");
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(write(3, "llama"), first);
  EXPECT_NE(write(4, "llama"), first);
  EXPECT_NE(write(3, "mistral"), first);
}

TEST_F(Safetensors, ExplainFoldersThatAreNoCheckpoint) {
  EXPECT_THAT(open_checkpoint(path("none")).status().message(),
              HasSubstr("there is no such folder or file"));
  EXPECT_THAT(
      open_checkpoint(folder_.string()).status().message(),
      HasSubstr("holds no config.json; expected a Hugging Face checkpoint folder or a GGUF file"));
  ASSERT_TRUE(write_file_atomically(path("config.json"), "[]").ok());
  EXPECT_THAT(open_checkpoint(folder_.string()).status().message(),
              HasSubstr("is a list, expected a table"));
  ASSERT_TRUE(write_file_atomically(path("file.gguf"), "GGUX....").ok());
  EXPECT_THAT(open_checkpoint(path("file.gguf")).status().message(),
              HasSubstr("this is no GGUF file"));
}

}  // namespace
}  // namespace swage::io
