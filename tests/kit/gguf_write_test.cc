// GGUF files as they are written, against those of the tests' own writer; rows that move.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "swage/io/gguf.h"
#include "tests/kit/gguf_writer.h"
#include "tests/kit/text_files.h"

namespace swage::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_gguf::Writer;
using testing_text::read_text;

GgufEntry entry(const std::string& name, const std::vector<int64_t>& shape, uint32_t type,
                std::vector<at::Tensor> pieces) {
  return {name, shape, type, [pieces](const std::function<absl::Status(const at::Tensor&)>& put) {
            for (const at::Tensor& piece : pieces) {
              if (absl::Status status = put(piece); !status.ok()) return status;
            }
            return absl::OkStatus();
          }};
}

std::string bytes_of(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

class GgufFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "swage_gguf_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void touch(const std::string& name) const { std::ofstream(path(name)) << "GGUF"; }

  std::string folder_;
};

TEST_F(GgufFolder, WritesHeaderKeysAndPaddedTensors) {
  const at::Tensor vector = at::arange(3, at::kFloat), blocks = at::full({2, 18}, 7, at::kByte);
  const std::vector<GgufKey> keys = {
      {"general.architecture", GgufType::kText, "llama", GgufType::kU32},
      {"a.count", GgufType::kU32, int64_t{5}, GgufType::kU32},
      {"a.flag", GgufType::kBool, true, GgufType::kU32},
      {"a.number", GgufType::kF32, 1e-5, GgufType::kU32},
      {"a.words", GgufType::kArray, Value::List{"x", "yz"}, GgufType::kText},
      {"a.types", GgufType::kArray, Value::List{int64_t{1}, int64_t{-3}}, GgufType::kI32},
      {"a.part", GgufType::kU16, int64_t{65535}, GgufType::kU32}};
  ASSERT_TRUE(write_gguf(path("own.gguf"), keys,
                         {entry("v", {3}, kGgufF32, {vector}),
                          entry("m", {2, 32}, 2, {blocks.narrow(0, 0, 1), blocks.narrow(0, 1, 1)})})
                  .ok());
  Writer expected;
  expected.string("general.architecture", "llama");
  expected.u32("a.count", 5);
  expected.raw("a.flag", 7, Writer::number(1, 1));
  const float number = 1e-5f;
  expected.raw("a.number", 6, std::string(reinterpret_cast<const char*>(&number), 4));
  expected.strings("a.words", {"x", "yz"});
  expected.integers("a.types", {1, -3});
  expected.raw("a.part", 2, Writer::number(65535, 2));
  expected.tensor("v", {3}, 0, bytes_of(vector));
  expected.tensor("m", {2, 32}, 2, bytes_of(blocks));
  EXPECT_EQ(read_text(path("own.gguf")), expected.file());
}

TEST_F(GgufFolder, RefusesWhatNoFileCanHold) {
  const auto message = [&](const GgufKey& key, const GgufEntry& tensor) {
    const absl::Status status = write_gguf(path("no.gguf"), {key}, {tensor});
    EXPECT_FALSE(std::filesystem::exists(path("no.gguf")));
    return std::string(status.message());
  };
  const GgufKey fine = {"a", GgufType::kU32, int64_t{1}, GgufType::kU32};
  const GgufEntry vector = entry("v", {3}, kGgufF32, {at::arange(3, at::kFloat)});
  EXPECT_THAT(message({"a", GgufType::kU32, int64_t{-1}, GgufType::kU32}, vector),
              HasSubstr("the key \"a\" has a"));
  EXPECT_THAT(message({"a", GgufType::kU8, int64_t{256}, GgufType::kU32}, vector),
              HasSubstr("the key \"a\""));
  EXPECT_THAT(message({"a", GgufType::kText, true, GgufType::kU32}, vector), HasSubstr("\"a\""));
  EXPECT_THAT(message(fine, entry(std::string(64, 'x'), {3}, 0, {})), HasSubstr("1 to 63 bytes"));
  EXPECT_THAT(message(fine, entry("m", {2, 33}, 2, {})), HasSubstr("a multiple of 32 for Q4_0"));
  EXPECT_THAT(message(fine, entry("m", {2, 32}, 9, {})), HasSubstr("an unknown type"));
  EXPECT_THAT(message(fine, entry("v", {4}, 0, {at::arange(3, at::kFloat)})),
              HasSubstr("came in 12 bytes, expected 16"));
  EXPECT_THAT(std::string(write_gguf(path("no.gguf"), {fine, fine}, {vector}).message()),
              HasSubstr("\"a\" is given twice"));
  EXPECT_THAT(std::string(write_gguf(path("no.gguf"), {fine}, {vector, vector}).message()),
              HasSubstr("\"v\" is given twice"));
}

TEST_F(GgufFolder, FindsTheFilesOfAModel) {
  EXPECT_TRUE(gguf_files(folder_)->empty());
  touch("mmproj-model.gguf");
  EXPECT_TRUE(gguf_files(folder_)->empty());
  touch("a-00001-of-00002.gguf");
  EXPECT_THAT(std::string(gguf_files(folder_).status().message()), HasSubstr("part 2 of 2"));
  touch("a-00002-of-00002.gguf");
  const std::vector<std::string> parts = {path("a-00001-of-00002.gguf"),
                                          path("a-00002-of-00002.gguf")};
  EXPECT_EQ(*gguf_files(folder_), parts);
  EXPECT_EQ(*gguf_files(parts[1]), parts);
  touch("b.gguf");
  EXPECT_THAT(std::string(gguf_files(folder_).status().message()), HasSubstr("holds 2 models"));
  EXPECT_THAT(*gguf_files(path("b.gguf")), ElementsAre(path("b.gguf")));
  touch("model.safetensors");
  EXPECT_TRUE(gguf_files(folder_)->empty()) << "it is read as what it always was";
}

// Sources of 100 + i and 200 + i in row i.
absl::StatusOr<at::Tensor> rows_of(const std::string& name, int64_t begin, int64_t end) {
  const at::Tensor all = (at::arange(6, at::kFloat) + (name == "a" ? 100 : 200)).unsqueeze(1) +
                         at::arange(2, at::kFloat) / 10;
  return end < 0 ? all : all.narrow(0, begin, end - begin).clone();
}

at::Tensor made(const GgufPlan& plan) {
  std::vector<at::Tensor> pieces;
  const absl::Status status = each_piece(plan, rows_of, [&](const at::Tensor& piece) {
    pieces.push_back(piece);
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return at::cat(pieces, 0);
}

TEST(GgufRows, MoveAsThePlanSays) {
  const at::Tensor a = *rows_of("a", 0, -1), b = *rows_of("b", 0, -1);
  GgufPlan plan;
  plan.shape = {10, 2};
  plan.sources = {{"a", 0}, {"b", 0}};
  plan.rows = {{0, 0, 1}, {0, 3, 1}, {0, 1, 1}, {0, 4, 2}, {1, 2, 4}, {0, 2, 1}};
  EXPECT_TRUE(at::equal(
      made(plan),
      at::cat({a[0], a[3], a[1], a[4], a[5], b[2], b[3], b[4], b[5], a[2]}).view({-1, 2})));
}

TEST(GgufRows, TurnMatricesAround) {
  const at::Tensor a = *rows_of("a", 0, -1);
  GgufPlan plan;
  plan.shape = {2, 2};
  plan.sources = {{"a", 3}};  // three matrices of two rows
  plan.rows = {{0, 2, 2}};    // the second one, turned around
  EXPECT_TRUE(at::equal(made(plan), a.narrow(0, 2, 2).t().contiguous()));
  plan.sources = {{"a", 0}};
  plan.rows = {{0, 0, 3}};
  plan.transposed = 1;
  EXPECT_TRUE(at::equal(made(plan), a.narrow(0, 0, 3).t().contiguous()));
}

TEST(GgufRows, RefuseRowsThatAreNotThere) {
  GgufPlan plan;
  plan.sources = {{"a", 4}};
  plan.rows = {{0, 0, 2}};
  const auto ignore = [](const at::Tensor&) { return absl::OkStatus(); };
  EXPECT_THAT(std::string(each_piece(plan, rows_of, ignore).message()),
              HasSubstr("6 rows for 4 matrices"));
  plan.rows = {{1, 0, 2}};
  EXPECT_FALSE(each_piece(plan, rows_of, ignore).ok());
}

}  // namespace
}  // namespace swage::io
