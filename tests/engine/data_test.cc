// What a run says of its data, of what it zeroed and of what it is made of.
#include <gmock/gmock.h>

#include <functional>

#include "absl/strings/str_format.h"
#include "core/engine/result.h"
#include "run_support.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing_support::RunTest;

class DataTest : public RunTest {
 protected:
  absl::Status calibrate(const std::string& source, int samples, int length,
                         const std::string& more = "") {
    std::filesystem::remove_all("work");
    return run("[model]\npath = \"model\"\n[calibration]\nsource = \"" + source + "\"\nsamples = " +
               std::to_string(samples) + "\nlength = " + std::to_string(length) + "\n" + more +
               "[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n"
               "[run]\nwork = \"work\"\nthreads = 1\n");
  }
  std::vector<std::string> notes() const {
    std::vector<std::string> all;
    const Value found = result();
    for (const Value& note : *found["notes"].list()) all.push_back(*note.text());
    return all;
  }
};

std::string words(size_t size) {
  std::string text;
  while (text.size() < size) text += "word" + std::to_string(text.size()) + " ";
  return text.substr(0, size);
}

TEST_F(DataTest, FewerWindowsThanAskedForAreNotedAndCounted) {
  std::ofstream("short.txt") << words(200);
  ASSERT_OK(calibrate("short.txt", 128, 64));
  EXPECT_THAT(notes(), Contains(HasSubstr("calibration: 3 windows of 128 asked for, 192 tokens of "
                                          "8192")));
  const Value drawn = result()["data"]["calibration"];
  EXPECT_EQ(drawn["asked"].i64("windows", 0), 128);
  EXPECT_EQ(drawn.i64("windows", 0), 3);
  EXPECT_EQ(drawn.i64("tokens", 0), 192);
  EXPECT_EQ(drawn.str("kind", ""), "text");
}

TEST_F(DataTest, WindowsAsAskedForLeaveNoNote) {
  std::ofstream("enough.txt") << words(400);
  ASSERT_OK(calibrate("enough.txt", 4, 32));
  EXPECT_THAT(notes(), Not(Contains(HasSubstr("calibration: "))));
}

TEST_F(DataTest, SingleTokensRepeatedAndOverlongWindowsAreNoted) {
  std::ofstream("ids.json") << R"({"input_ids": [[5], [6, 7, 8], [6, 7, 8]]})";
  ASSERT_OK(calibrate("ids.json", 3, 3));
  EXPECT_THAT(notes(), Contains(HasSubstr("1 of 3 windows is a single token")));
  EXPECT_THAT(notes(), Contains(HasSubstr("1 of 3 windows repeats another one")));
  EXPECT_THAT(notes(), Contains(HasSubstr("7 tokens of 9 asked for")));
  Value config = testing_support::must(
      parse_json(testing_support::read_text("model/config.json"), "config.json"));
  (*config.table())["max_position_embeddings"] = int64_t{16};
  std::ofstream("model/config.json") << to_json(config);
  std::ofstream("long.txt") << words(400);
  ASSERT_OK(calibrate("long.txt", 2, 64));
  EXPECT_THAT(notes(), Contains(HasSubstr("2 of 2 windows are longer than the model's context of "
                                          "16 tokens, up to 64")));
}

TEST_F(DataTest, EvaluationsSayWhatTheyDrew) {
  std::ofstream("short.txt") << words(200);
  ASSERT_OK(
      run("[model]\npath = \"model\"\n[[evaluate]]\nuse = \"perplexity\"\n"
          "source = \"short.txt\"\nlength = 64\nwindows = 9\n[run]\nwork = \"work\"\n"));
  EXPECT_THAT(notes(), Contains(HasSubstr("perplexity: 3 windows of 9 asked for")));
  EXPECT_EQ(result()["data"]["evaluate"]["perplexity"].i64("tokens", 0), 192);
}

TEST_F(DataTest, ColumnsThatBecameZeroAreCounted) {
  std::ofstream("one.txt") << std::string(400, 'a');
  // Weights far below their row's scale vanish, too.
  const std::string file = "model/model.safetensors";
  const auto source = testing_support::must(io::open_safetensors({file}));
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  std::string changed;
  for (const std::string& name : source->names()) {
    at::Tensor tensor = testing_support::must(source->read(name));
    if (changed.empty() && name.find("down_proj.weight") != std::string::npos) {
      changed = name.substr(0, name.size() - 7);
      tensor.narrow(1, 3, 5).mul_(1e-6);
    }
    tensors.emplace_back(name, tensor);
  }
  ASSERT_FALSE(changed.empty());
  ASSERT_OK(io::write_safetensors(file, tensors));
  ASSERT_OK(
      run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\n"
          "weight = { bits = 4, group = 32 }\n[run]\nwork = \"work\"\n"));
  EXPECT_THAT(notes(), Contains(AllOf(HasSubstr("all weights became 0 for 5 of "),
                                      HasSubstr("inputs of " + changed))));
  const Value found = result();
  for (const Value& linear : *found["linears"].list()) {
    if (linear.has("place")) continue;  // an end, kept
    EXPECT_EQ(linear.i64("zeroed_inputs", -1), linear.str("name", "") == changed ? 5 : 0);
    EXPECT_GT(linear.f64("error", 0), 0.01);
    EXPECT_LT(linear.f64("error", 1), 0.2);
  }
}

// All tensors of the model whose name fits, changed.
void change_weights(const std::string& part, const std::function<void(at::Tensor&)>& change,
                    at::ScalarType type) {
  const std::string file = "model/model.safetensors";
  const auto source = testing_support::must(io::open_safetensors({file}));
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const std::string& name : source->names()) {
    at::Tensor tensor = testing_support::must(source->read(name));
    if (name.find(part) != std::string::npos) change(tensor);
    tensors.emplace_back(name, tensor.to(type));
  }
  ASSERT_OK(io::write_safetensors(file, tensors));
}

constexpr char kRound[] =
    "[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\n"
    "weight = { bits = 4, group = 32, scale_dtype = \"%s\" }\n[run]\nwork = \"work\"\n";

TEST_F(DataTest, ALinearTooSmallForItsScalesIsNamedWithTheWayOut) {
  const std::string linear = "model.layers.1.mlp.down_proj";
  change_weights(
      linear, [](at::Tensor& tensor) { tensor.mul_(1e-7); }, at::kFloat);
  ASSERT_OK(run(absl::StrFormat(kRound, "fp16")));
  EXPECT_THAT(notes(), Contains(AllOf(HasSubstr("all weights became 0 for the whole of " + linear),
                                      HasSubstr("too small for scales in fp16"),
                                      HasSubstr("scale_dtype = \"fp32\""))));
  int zero = 0;
  const Value found = result();
  for (const Value& one : *found["linears"].list()) {
    EXPECT_EQ(one.flag("is_zero", false), one.str("name", "") == linear);
    zero += one.i64("zeroed_outputs", 0) == one.i64("out", -1) ? 1 : 0;
  }
  EXPECT_EQ(zero, 1);
  EXPECT_THAT(result_table(found, "work"),
              HasSubstr("became 0                   " + linear + ", see \"notes\""));
  fs::remove_all("work");
  ASSERT_OK(run(absl::StrFormat(kRound, "fp32")));
  EXPECT_THAT(notes(), Not(Contains(HasSubstr("became 0"))));
  EXPECT_THAT(result_table(result(), "work"), Not(HasSubstr("became 0")));
}

TEST_F(DataTest, OutputsTooSmallForTheirScalesAreCounted) {
  const std::string linear = "model.layers.0.mlp.up_proj";
  change_weights(
      linear, [](at::Tensor& tensor) { tensor.narrow(0, 2, 3).sign_().mul_(1e-7); }, at::kHalf);
  ASSERT_OK(run(absl::StrFormat(kRound, "auto")));
  EXPECT_THAT(notes(), Contains(AllOf(HasSubstr("all weights became 0 for 3 of "),
                                      HasSubstr("outputs of " + linear), HasSubstr("fp16"))));
}

TEST_F(DataTest, ALinearOfZerosIsNamed) {
  const std::string linear = "model.layers.0.mlp.up_proj";
  change_weights(
      linear, [](at::Tensor& tensor) { tensor.zero_(); }, at::kFloat);
  ASSERT_OK(run(absl::StrFormat(kRound, "auto")));
  EXPECT_THAT(notes(), Contains(HasSubstr("nothing but zeros came in, and is exported, as the "
                                          "weights of " +
                                          linear)));
  EXPECT_THAT(notes(), Not(Contains(HasSubstr("became 0"))));
}

TEST_F(DataTest, ARecipeThatCompressesNothingSaysSo) {
  ASSERT_OK(
      run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\n"
          "weight = { bits = 4, group = 32 }\n[[step.override]]\nmatch = \"*\"\n"
          "keep = true\n[run]\nwork = \"work\"\n"));
  EXPECT_THAT(notes(), Contains(HasSubstr("nothing is compressed: all ")));
}

TEST_F(DataTest, TheResultNamesVersionsPipelineAndModel) {
  std::ofstream("enough.txt") << words(400);
  ASSERT_OK(calibrate("enough.txt", 4, 32));
  const Value found = result();
  EXPECT_THAT(found["versions"].str("swage", ""), Not(IsEmpty()));
  EXPECT_THAT(found["versions"].str("torch", ""), Not(IsEmpty()));
  bool has_build = false;
  for (const auto& [id, plugin] : *found["versions"]["plugins"].table())
    has_build |= !plugin.str("build_id", "").empty();
  EXPECT_TRUE(has_build);
  EXPECT_EQ(found.str("started", "").size(), std::string("2026-01-31T12:00:00Z").size());
  EXPECT_EQ((*found["pipeline"]["step"].list())[0].str("use", ""), "gptq");
  EXPECT_EQ(found["command"].str("verb", ""), "run");
  EXPECT_EQ(found.str("model_digest", "").size(), 32u);
}

}  // namespace
}  // namespace swage
