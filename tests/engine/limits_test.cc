// What cannot be is refused in a moment: sizes, pipes and devices in the place of files, standard
// files that are closed or full.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <chrono>

#include "absl/strings/str_cat.h"
#include "command_support.h"

namespace swage::testing_support {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

constexpr int kPipeline = 3, kInput = 4, kOther = 1;
constexpr const char* kStep = "[[step]]\nuse = \"rtn\"\nweight = { bits = 4, group = 8 }\n";

class Limits : public CommandTest {
 protected:
  static void write(const std::string& file, const std::string& text) {
    std::ofstream(file) << text;
  }
  static std::string pipeline_of(const std::string& model, const std::string& rest = "") {
    return "[model]\npath = \"" + model + "\"\n" + kStep + rest +
           "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n";
  }
  // The answer, which must come soon.
  static Answer prompt(const std::vector<std::string>& arguments) {
    const auto start = std::chrono::steady_clock::now();
    const Answer answer = swage(arguments);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(took.count(), 20) << "a second where nothing else runs";
    return answer;
  }
  static void expect_refused(const Answer& answer, const std::string& text) {
    EXPECT_THAT(answer.code, AnyOf(kPipeline, kInput)) << answer.err;
    EXPECT_THAT(answer.err, HasSubstr(text));
  }
  // The command with standard files as `prepare` leaves them.
  static int with_files(const std::vector<std::string>& arguments,
                        const std::function<void()>& prepare) {
    return code_of(start_with(arguments, prepare));
  }
};

TEST_F(Limits, SizesThatCannotBeAreRefusedByKey) {
  write("pipeline.toml", pipeline_of("model"));
  const Value config = must(parse_json(read_text("model/config.json"), "config.json"));
  const std::pair<const char*, int64_t> sizes[] = {
      {"num_hidden_layers", 1'000'000'000},   {"vocab_size", int64_t{1} << 62},
      {"hidden_size", int64_t{1} << 40},      {"intermediate_size", 1'000'000'000},
      {"num_attention_heads", 1'000'000'000}, {"num_key_value_heads", int64_t{1} << 31},
      {"head_dim", int64_t{1} << 50},         {"num_hidden_layers", -1}};
  for (const auto& [key, value] : sizes) {
    Value changed = config;
    (*changed.table())[key] = value;
    write("model/config.json", to_json(changed));
    const Answer answer = prompt({"check", "pipeline.toml"});
    EXPECT_EQ(answer.code, kInput) << key;
    EXPECT_THAT(answer.err, HasSubstr(absl::StrCat(value))) << key;
  }
}

TEST_F(Limits, PipesAndDevicesAreRefusedInThePlaceOfEveryFile) {
  ASSERT_EQ(mkfifo("pipe", 0644), 0);
  for (const std::string file : {"pipe", "/dev/zero"}) {
    expect_refused(prompt({"check", file}), "is no file");
    expect_refused(prompt({"inspect", file}), "expected a file");
    expect_refused(prompt({"forward", "model", "--input", file, "--output", "out"}),
                   "is no regular file");
    write("pipeline.toml", pipeline_of(file));
    expect_refused(prompt({"check", "pipeline.toml"}), "pipe, device or socket");
    write("pipeline.toml",
          pipeline_of("model", "[[evaluate]]\nuse = \"perplexity\"\nsource = \"" + file + "\"\n"));
    expect_refused(prompt({"check", "pipeline.toml"}), file);
    write("pipeline.toml", "include = \"" + file + "\"\n" + pipeline_of("model"));
    expect_refused(prompt({"check", "pipeline.toml"}), file);
  }
  write("pipeline.toml", pipeline_of("model"));
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"}) {
    fs::rename(fs::path("model") / file, "aside");
    ASSERT_EQ(mkfifo((fs::path("model") / file).c_str(), 0644), 0);
    expect_refused(prompt({"check", "pipeline.toml"}), "pipe");
    fs::remove(fs::path("model") / file);
    fs::rename("aside", fs::path("model") / file);
  }
  EXPECT_EQ(prompt({"check", "pipeline.toml"}).code, 0);
}

TEST_F(Limits, ClosedStandardFilesAreNothingAndFullOnesAnError) {
  write("pipeline.toml", pipeline_of("model"));
  const int code = with_files({"run", "pipeline.toml"}, [] {
    for (int descriptor = 0; descriptor <= 2; ++descriptor) close(descriptor);
  });
  EXPECT_EQ(code, 0);
  for (const auto& [name, content] : read_folder("runs/pipeline")) {
    EXPECT_THAT(content, testing::Not(HasSubstr("compress: "))) << "the log lies in " << name;
  }
  EXPECT_GT(fs::file_size("packed/model.safetensors"), 1000u);
  const int full = with_files({"plugins"}, [] { dup2(open("/dev/full", O_WRONLY), 1); });
  EXPECT_NE(full, 0);
  EXPECT_NE(full, kOther);
  EXPECT_LT(full, 126);
}

TEST_F(Limits, NamesThatNoFileSystemTakesAreRefusedByCheck) {
  for (const size_t length : {size_t{208}, size_t{255}, size_t{256}}) {
    const std::string name(length, 'x');
    const std::string at = "[[export]]\nuse = \"compressed-tensors\"\npath = \"" + name + "\"\n";
    write("pipeline.toml", "[model]\npath = \"model\"\n" + std::string(kStep) + at);
    expect_refused(prompt({"check", "pipeline.toml"}), "bytes, where");
    write("pipeline.toml", pipeline_of("model") + "[run]\nwork = \"" + name + "\"\n");
    expect_refused(prompt({"check", "pipeline.toml"}), "bytes, where");
  }
  write("pipeline.toml",
        pipeline_of("model") + "[run]\nwork = \"" + std::string(207, 'x') + "\"\n");
  EXPECT_EQ(prompt({"run", "pipeline.toml"}).code, 0);
}

TEST_F(Limits, AMountPointIsNoPlaceForAnExport) {
  struct stat inner = {}, outer = {};
  if (stat("/dev/shm", &inner) != 0 || stat("/dev", &outer) != 0 || inner.st_dev == outer.st_dev)
    GTEST_SKIP() << "/dev/shm is no mount point here";
  write("pipeline.toml", "[model]\npath = \"model\"\n" + std::string(kStep) +
                             "[[export]]\nuse = \"compressed-tensors\"\npath = \"/dev/shm\"\n");
  expect_refused(prompt({"check", "pipeline.toml"}), "\"/dev/shm\"");
}

TEST_F(Limits, ARefusedEvaluationLeavesEarlierResults) {
  write("eval.toml", "[[evaluate]]\nuse = \"perplexity\"\nsource = \"" +
                         data("evaluation.txt").string() + "\"\nlength = 32\nwindows = 2\n");
  ASSERT_EQ(swage({"eval", "model", "eval.toml"}).code, 0);
  const auto before = read_folder("runs/eval-model");
  ASSERT_GT(before.count("result.json"), 0u);
  write("model/config.json", "{}");
  EXPECT_NE(swage({"eval", "model", "eval.toml"}).code, 0);
  EXPECT_EQ(read_folder("runs/eval-model"), before);
}

}  // namespace
}  // namespace swage::testing_support
