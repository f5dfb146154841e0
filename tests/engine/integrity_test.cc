// What a run is made from is what the run wrote and read: weights, states, part files, journal.
#include <gmock/gmock.h>

#include "core/base/exit_codes.h"
#include "core/engine/process.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Files = std::map<std::string, std::string>;

class Integrity : public RunTest {
 protected:
  std::string recipe() const {
    return pipeline("[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n" + perplexity() +
                    "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n"
                    "[run]\nwork = \"work\"\n");
  }

  Files undisturbed() {
    EXPECT_OK(run(recipe()));
    const Files files = read_folder("packed");
    fs::remove_all("work");
    fs::remove_all("packed");
    return files;
  }

  // Stops behind the first of two blocks.
  void run_one_block() {
    install_interrupt_handler();
    raise(SIGINT);
    const absl::Status status = run(recipe());
    install_interrupt_handler();  // forgets the signal
    ASSERT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
    ASSERT_TRUE(fs::exists("work/run.db"));
    ASSERT_FALSE(fs::exists("packed"));
  }

  static void flip(const fs::path& file, std::streamoff at, int bit) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(at);
    const char byte = static_cast<char>(stream.get() ^ (1 << bit));
    stream.seekp(at);
    stream.put(byte);
  }

  void expect_resumed(const Files& expected) {
    EXPECT_OK(resume());
    EXPECT_TRUE(read_folder("packed") == expected);
  }
};

TEST_F(Integrity, OtherWeightsOfEqualNamesAndSizesAreRefusedAndRestoredOnesGoOn) {
  const Files expected = undisturbed();
  run_one_block();
  const fs::path shard = "model/model.safetensors";
  flip_bit(shard, 1);
  const absl::Status status = resume();
  EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kInput)) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("model.safetensors: has changed since the run began"),
                    HasSubstr("tensor \"")));
  EXPECT_FALSE(fs::exists("packed"));
  flip_bit(shard, 1);
  expect_resumed(expected);
}

TEST_F(Integrity, OtherTimesOfEqualWeightsChangeNothing) {
  const Files expected = undisturbed();
  run_one_block();
  fs::copy("model", "copy");
  fs::remove_all("model");
  fs::rename("copy", "model");
  expect_resumed(expected);
}

TEST_F(Integrity, WeightsThatAreReplacedWhileTheRunWorksAreNoticed) {
  const auto watch = must(ShardWatch::of_model("model"));
  watch->start();
  const auto news = watch->news();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_GT(news[0].value["digests"].table()->size(), 10u);
  EXPECT_OK(watch->check());
  fs::last_write_time("model/model.safetensors", fs::file_time_type::clock::now());
  EXPECT_OK(watch->check());
  EXPECT_EQ(watch->news().size(), 1u) << "times of the file";
  flip_bit("model/model.safetensors", 100);
  EXPECT_EQ(exit_code(watch->check()), static_cast<int>(ExitCode::kInput));
}

// One flipped bit never ends in other weights, wherever it is.
TEST_F(Integrity, AFlippedBitOfAnyFileIsRefusedOrComputedAgain) {
  const Files expected = undisturbed();
  run_one_block();
  fs::rename("work", "stopped");
  int refused = 0, right = 0;
  for (const auto& [name, content] : read_folder("stopped")) {
    if (content.empty()) continue;
    for (size_t place = 0; place < 6; ++place) {
      const auto at = static_cast<std::streamoff>((content.size() - 1) * place / 5);
      SCOPED_TRACE(name + ", byte " + std::to_string(at));
      fs::remove_all("work");
      fs::remove_all("packed");
      fs::copy("stopped", "work", fs::copy_options::recursive);
      flip("work/" + name, at, static_cast<int>(place));
      if (resume().ok()) {
        EXPECT_TRUE(read_folder("packed") == expected);
        ++right;
      } else {
        ++refused;
      }
    }
  }
  EXPECT_GE(refused, 6) << "states above all";
  EXPECT_GE(right, 12) << "part files above all";
}

TEST_F(Integrity, ADamagedPartIsComputedAgainAndNoted) {
  const Files expected = undisturbed();
  run_one_block();
  flip_bit("work/parts/compressed-tensors/language-00000.safetensors", 1);
  expect_resumed(expected);
  EXPECT_THAT(to_json(result()["notes"]),
              HasSubstr("language-00000.safetensors: is not what the run wrote"));
}

TEST_F(Integrity, ADamagedStateIsRefused) {
  undisturbed();
  run_one_block();
  flip_bit("work/state/border-00001.safetensors", 1);
  const absl::Status status = resume();
  EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kInput)) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("border-00001.safetensors: is not what the run wrote"),
                    HasSubstr("remove the work folder")));
}

TEST_F(Integrity, PartFilesThatTheRunDidNotWriteAreLeftOut) {
  const Files expected = undisturbed();
  run_one_block();
  const fs::path parts = "work/parts/compressed-tensors";
  at::Tensor stray = at::ones({2, 2});
  ASSERT_OK(io::write_safetensors((parts / "language-00009.safetensors").string(),
                                  {{"model.layers.9.mlp.up_proj.weight", stray}}));
  expect_resumed(expected);
}

TEST_F(Integrity, AMovedWorkFolderGoesOnWhereItLies) {
  const Files expected = undisturbed();
  run_one_block();
  fs::rename("work", "moved");
  work_ = fs::absolute("moved").string();
  expect_resumed(expected);
  EXPECT_TRUE(fs::exists("moved/result.json"));
  EXPECT_FALSE(fs::exists("work"));
}

TEST_F(Integrity, AChangedTokenizerIsRefusedAndARestoredOneGoesOn) {
  const Files expected = undisturbed();
  run_one_block();
  const std::string tokenizer = read_text("model/tokenizer.json");
  std::ofstream("model/tokenizer.json") << tokenizer << "\n";
  const absl::Status changed = resume();
  EXPECT_EQ(exit_code(changed), static_cast<int>(ExitCode::kPipeline)) << changed;
  EXPECT_THAT(std::string(changed.message()), HasSubstr("side_files.tokenizer.json"));
  std::ofstream("model/tokenizer.json") << tokenizer;
  std::ofstream("model/chat_template.jinja") << "{{ messages }}";
  EXPECT_THAT(std::string(resume().message()), HasSubstr("side_files.chat_template.jinja: null"));
  fs::remove("model/chat_template.jinja");
  expect_resumed(expected);
}

TEST_F(Integrity, SideFilesThatChangeWhileTheRunWorksAreNoticed) {
  const RunCommand command = {"run", fs::current_path().string(), "pipeline.toml", {}, {}};
  std::ofstream("pipeline.toml") << recipe();
  const auto setup = must(set_up_run(must(load_run(command))));
  Journal journal = must(start_journal(*setup, command));
  std::ofstream("model/tokenizer.json", std::ios::app) << "\n";
  const auto reporter = must(Reporter::create({"", true}));
  const absl::Status status = execute(*setup, journal, *reporter);
  EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kInput)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("tokenizer.json holds other bytes"));
  EXPECT_FALSE(fs::exists("packed/config.json"));
}

// LLaVA stands in front of a language model that is another plugin's.
TEST_F(Integrity, EveryPluginOfAModelIsPartOfTheRun) {
  for (const char* name : {"config.json", "model.safetensors"})
    fs::copy(test_data() / "parity/llava" / name, fs::path("model") / name,
             fs::copy_options::overwrite_existing);
  std::ofstream("pipeline.toml")
      << "[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\nweight = { bits = 4, group = 8 }\n";
  const auto setup = must(
      set_up_run(must(load_run({"run", fs::current_path().string(), "pipeline.toml", {}, {}}))));
  const Value plugins = setup->identity()["plugins"];
  for (const char* id : {"llava", "llama", "swage.rtn"})
    EXPECT_NE(plugins[id].str("build_id", ""), "") << id;
}

TEST_F(Integrity, TheResultSaysWhatWasReadOfTheModel) {
  undisturbed();
  const auto digest_of = [&] {
    EXPECT_OK(run(recipe()));
    const Value told = result();
    fs::remove_all("work");
    fs::remove_all("packed");
    for (const char* file : {"model.safetensors", "tokenizer.json", "config.json and headers"})
      EXPECT_NE(told["model_files"].str(file, ""), "") << file;
    return told.str("model_digest", "");
  };
  const std::string before = digest_of();
  EXPECT_EQ(digest_of(), before);
  flip_bit("model/model.safetensors", 1);
  const std::string weights = digest_of();
  EXPECT_NE(weights, before);
  std::ofstream("model/tokenizer.json", std::ios::app) << "\n";
  EXPECT_NE(digest_of(), weights);
}

TEST_F(Integrity, ADamagedReferenceCacheIsPassedAgainAndNoted) {
  const std::string cached = recipe() + "reference_cache = \"cache\"\n";
  ASSERT_OK(run(cached));
  const std::string metrics = to_json(result()["metrics"]);
  const fs::path file = fs::directory_iterator("cache")->path();
  const std::string content = read_text(file);
  for (const size_t from_end : {size_t{1}, size_t{40}, content.size() / 2, content.size() - 20}) {
    SCOPED_TRACE(from_end);
    fs::remove_all("work");
    fs::remove_all("packed");
    flip_bit(file, static_cast<std::streamoff>(from_end));
    ASSERT_OK(run(cached));
    EXPECT_EQ(to_json(result()["metrics"]), metrics);
    EXPECT_EQ(read_text(file), content) << "stored again";
  }
}

TEST_F(Integrity, AReferenceCacheThatIsGoneIsNoLoss) {
  std::string cached = recipe() + "reference_cache = \"cache\"\n";
  ASSERT_OK(run(cached));
  const std::string metrics = to_json(result()["metrics"]);
  fs::remove_all("work");
  fs::remove_all("packed");
  install_interrupt_handler();
  raise(SIGINT);
  const absl::Status stopped = run(cached);
  install_interrupt_handler();
  ASSERT_EQ(stopped.code(), absl::StatusCode::kCancelled) << stopped;
  fs::remove_all("cache");
  ASSERT_OK(resume());
  EXPECT_EQ(to_json(result()["metrics"]), metrics);
}

}  // namespace
}  // namespace swage::testing_support
