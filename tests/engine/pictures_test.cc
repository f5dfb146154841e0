// Calibration with pictures, from files to compressed towers.
#include <ATen/ops/cross_entropy_loss.h>
#include <gmock/gmock.h>

#include <csignal>

#include "core/engine/process.h"
#include "run_support.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing_support::RunTest;
using testing_support::test_data;

// The small LLaVA with a byte-level tokenizer whose id 250 is its image token, and pictures.
class PicturesTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    for (const char* file : {"config.json", "model.safetensors"}) {
      fs::copy(test_data() / "parity" / "llava" / file, root_ / "model",
               fs::copy_options::overwrite_existing);
    }
    add_image_token();
    std::ofstream("model/preprocessor_config.json")
        << R"({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 28},
              "crop_size": {"height": 28, "width": 28}})";
    std::ofstream("model/chat_template.jinja")
        << "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] "
           "%}"
           "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
           "{% endfor %}\n{% endfor %}";
    for (const char* picture : {"grey.png", "alpha.png"})
      fs::copy(test_data() / "images" / picture, picture);
  }

  // Id 250 of the byte-level tokenizer becomes "<image>".
  static void add_image_token() {
    Value tokenizer = testing_support::must(
        parse_json(testing_support::read_text("model/tokenizer.json"), "tokenizer.json"));
    Value::Table& vocabulary = *(*(*tokenizer.table())["model"].table())["vocab"].table();
    for (auto entry = vocabulary.begin(); entry != vocabulary.end();)
      entry = *entry->second.integer() == 250 ? vocabulary.erase(entry) : std::next(entry);
    vocabulary["<image>"] = int64_t{250};
    Value::Table added = {{"id", int64_t{250}},   {"content", "<image>"}, {"special", true},
                          {"single_word", false}, {"lstrip", false},      {"rstrip", false},
                          {"normalized", false}};
    Value::Table& root = *tokenizer.table();
    if (root["added_tokens"].list() == nullptr) root["added_tokens"] = Value(Value::List{});
    root["added_tokens"].list()->push_back(Value(std::move(added)));
    std::ofstream("model/tokenizer.json") << to_json(tokenizer);
  }

  absl::Status compress(const std::string& lines, const std::string& more = "") {
    std::ofstream("pictures.jsonl") << lines;
    fs::remove_all("work");
    fs::remove_all("packed");
    return run(
        "[model]\npath = \"model\"\ntowers = [\"vision\", \"projector\", \"language\"]\n"
        "[calibration]\nsource = \"pictures.jsonl\"\nlength = 64\nsamples = 4\n" +
        more +
        "[scheme]\nweight = { bits = 4, group = 8 }\n[[step]]\nuse = \"gptq\"\n"
        "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n"
        "[run]\nwork = \"work\"\nthreads = 1\n");
  }
};

constexpr const char* kChat =
    R"({"messages": [{"role": "user", "content": [{"type": "image", "image": "grey.png"},
)"
    R"({"type": "text", "text": "what is this?"}]}]})";

std::string one_line(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), '\n'), text.end());
  return text + "\n";
}

TEST_F(PicturesTest, ChatsAndTextsWithPicturesMeasureAllTowers) {
  ASSERT_OK(
      compress(one_line(kChat) +
               "{\"text\": \"<image> and <image>\", \"images\": [\"alpha.png\", \"grey.png\"]}\n"
               "{\"text\": \"no picture here\", \"images\": []}\n"));
  const Value outcome = result();
  for (const Value& linear : *outcome["linears"].list())
    EXPECT_TRUE(linear.has("weight") || linear.has("place")) << linear.str("name", "");
  EXPECT_EQ((*result()["exports"].list())[0].str("verdict", ""), "ok");
  EXPECT_TRUE(fs::exists("packed/preprocessor_config.json"));
}

// exp of the mean cross entropy where no picture's place follows, of what transformers computes.
double reference_perplexity(const fs::path& io) {
  const auto source = testing_support::must(io::open_safetensors({io.string()}));
  const at::Tensor ids = testing_support::must(source->read("input_ids")).flatten();
  const at::Tensor logits = testing_support::must(source->read("logits")).squeeze(0);
  const at::Tensor targets = ids.slice(0, 1);
  const at::Tensor losses = at::cross_entropy_loss(logits.slice(0, 0, -1).to(at::kDouble), targets,
                                                   {}, at::Reduction::None);
  return losses.masked_select(targets != 250).mean().exp().item<double>();
}

TEST_F(PicturesTest, EvaluationCountsWhatFollowsPicturesAndText) {
  const fs::path io = test_data() / "parity" / "llava" / "io.safetensors";
  ASSERT_OK(
      run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\nweight = { bits = 8, group = 8 }\n"
          "[[evaluate]]\nuse = \"perplexity\"\nsource = \"" +
          io.string() + "\"\n[[evaluate]]\nuse = \"divergence\"\nsource = \"" + io.string() +
          "\"\n[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n"
          "[run]\nwork = \"work\"\nthreads = 1\n"));
  const Value metrics = result()["metrics"];
  const double original = metrics["perplexity"]["original"].f64("perplexity", 0);
  EXPECT_NEAR(original / reference_perplexity(io), 1, 1e-5);
  EXPECT_NEAR(metrics["perplexity"]["compressed"].f64("perplexity", 0) / original, 1, 0.05);
  EXPECT_GT(metrics["divergence"]["compressed"].f64("kl_mean", 0), 0);
  const Value exported = (*result()["exports"].list())[0];
  EXPECT_EQ(exported.str("verdict", ""), "ok");
  EXPECT_EQ(exported.i64("windows", 0), 1);
}

TEST_F(PicturesTest, ChatsWithAndWithoutPicturesAreEvaluated) {
  std::ofstream("chats.jsonl") << one_line(kChat) << one_line(kChat);
  std::ofstream("talk.jsonl")
      << R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]})";
  for (const char* source : {"chats.jsonl", "talk.jsonl"}) {
    fs::remove_all("work");
    ASSERT_OK(run("[model]\npath = \"model\"\n[[evaluate]]\nuse = \"perplexity\"\nsource = \"" +
                  std::string(source) + "\"\nlength = 64\n[run]\nwork = \"work\"\n"));
    EXPECT_GT(result()["metrics"]["perplexity"]["original"].f64("perplexity", 0), 1) << source;
  }
}

TEST_F(PicturesTest, LinesThatCannotBeUsedAreNamed) {
  EXPECT_THAT(std::string(compress("{\"text\": \"<image>\", \"images\": []}\n").message()),
              HasSubstr("pictures.jsonl:1: holds 0 pictures, but more places \"<image>\""));
  EXPECT_THAT(std::string(compress("{\"text\": \"none\", \"images\": [\"grey.png\"]}\n").message()),
              HasSubstr("holds 1 pictures, but fewer places"));
  EXPECT_THAT(
      std::string(compress("{\"text\": \"<image>\", \"images\": [\"lost.png\"]}\n").message()),
      HasSubstr("lost.png"));
  fs::remove("model/preprocessor_config.json");
  EXPECT_THAT(std::string(compress(one_line(kChat)).message()),
              HasSubstr("holds no preprocessor_config.json"));
}

TEST_F(PicturesTest, PlaceholdersWithoutPicturesAreRefusedByLine) {
  EXPECT_THAT(std::string(compress("{\"text\": \"" + std::string(400, 'w') +
                                   "\"}\n{\"text\": \"<image>\"}\n")
                              .message()),
              HasSubstr("pictures.jsonl:2: holds \"<image>\" (token 250), which stands for a "
                        "picture, but there is none"));
  std::ofstream("talk.jsonl")
      << R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "<image>"}]}]})";
  EXPECT_THAT(
      std::string(run("[model]\npath = \"model\"\n[[evaluate]]\nuse = \"perplexity\"\nsource = "
                      "\"talk.jsonl\"\nlength = 64\n[run]\nwork = \"work\"\n")
                      .message()),
      HasSubstr("talk.jsonl:1: holds \"<image>\""));
}

TEST_F(PicturesTest, OnlyFilesArePicturesAndLongNamesAreCut) {
  const std::string data = "data:image/png;base64," + std::string(5000, 'A');
  const std::string message(
      compress("{\"text\": \"<image>\", \"images\": [\"" + data + "\"]}\n").message());
  EXPECT_THAT(message, HasSubstr("data within the line; write it into a file"));
  EXPECT_LT(message.size(), 400u);
  EXPECT_THAT(
      std::string(
          compress("{\"text\": \"<image>\", \"images\": [\"https://x/a.png\"]}\n").message()),
      HasSubstr("is an address; fetch it into a file"));
}

TEST_F(PicturesTest, ALineIsNeverCutInAPicture) {
  const std::string line =
      "{\"text\": \"" + std::string(61, 'x') + "<image>\", \"images\": [\"grey.png\"]}\n";
  EXPECT_THAT(std::string(compress(line).message()),
              HasSubstr("no line fits into 64 tokens with its pictures"));
}

// Asks the run to stop, as Ctrl-C does, once it has done so many units.
class StoppingReporter final : public Reporter {
 public:
  explicit StoppingReporter(int64_t units) : left_(units) {}
  void begin_phase(const std::string&, int64_t, int64_t) override {}
  void at(std::string_view, double) override {}
  void unit_done(std::string_view, const Value&) override {
    if (--left_ == 0) raise(SIGINT);
  }
  void end_phase() override {}
  void note(std::string_view) override {}
  void warning(std::string_view) override {}
  void event(const std::string&, const Value&) override {}
  void finish() override {}
  void print(std::string_view) override {}

 private:
  int64_t left_;
};

// A run of pipeline.toml that stops behind so many blocks.
absl::Status run_until(int64_t blocks) {
  const RunCommand command = {"run", fs::current_path().string(), "pipeline.toml", {}, {}};
  install_interrupt_handler();
  StoppingReporter reporter(blocks);
  SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded, load_run(command));
  SWAGE_ASSIGN_OR_RETURN(const auto setup, set_up_run(std::move(loaded)));
  SWAGE_ASSIGN_OR_RETURN(Journal journal, start_journal(*setup, command));
  const absl::Status status = execute(*setup, journal, reporter);
  install_interrupt_handler();  // forgets the signal
  return status;
}

// The last line is what exports are verified on: text alone passes no tower of images.
TEST_F(PicturesTest, ARunWithTextAloneAmongPicturesGoesOnBehindEveryBlock) {
  const std::string lines = one_line(kChat) + "{\"text\": \"no picture\", \"images\": []}\n";
  ASSERT_OK(compress(lines));
  const auto expected = testing_support::read_folder("packed");
  const auto blocks = static_cast<int64_t>(
      testing_support::must(testing_support::must(Journal::open("work")).all("block")).size());
  ASSERT_GT(blocks, 3);
  for (int64_t stop = 1; stop < blocks; ++stop) {
    SCOPED_TRACE(stop);
    fs::remove_all("work");
    fs::remove_all("packed");
    ASSERT_TRUE(absl::IsCancelled(run_until(stop)));
    ASSERT_OK(resume());
    EXPECT_TRUE(testing_support::read_folder("packed") == expected);
  }
}

// Published Qwen2-VL files keep the language model's keys at the top.
TEST_F(PicturesTest, AnExportIsReadBackWhereConfigIsTheLanguageModelsToo) {
  for (const char* file : {"config_min.json", "model.safetensors"}) {
    fs::copy(test_data() / "parity" / "qwen2_vl" / file, root_ / "model",
             fs::copy_options::overwrite_existing);
  }
  Value config = testing_support::must(
      parse_json(testing_support::read_text("model/config_min.json"), "config.json"));
  const Value text = config["text_config"];
  config.table()->erase("text_config");
  for (const auto& [key, value] : *text.table()) config.table()->insert({key, value});
  std::ofstream("model/config.json") << to_json(config);
  std::ofstream("ids.json") << "{\"input_ids\": [[5, 9, 11, 7]]}";
  ASSERT_OK(
      run("[model]\npath = \"model\"\n[calibration]\nsource = \"ids.json\"\n"
          "[scheme]\nweight = { bits = 4, group = 8 }\n[[step]]\nuse = \"gptq\"\n"
          "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n"
          "[run]\nwork = \"work\"\nthreads = 1\n"));
  EXPECT_EQ((*result()["exports"].list())[0].str("verdict", ""), "ok");
}

TEST_F(PicturesTest, TowersThatTheModelLacksAreNamed) {
  for (const char* file : {"config.json", "model.safetensors"}) {
    fs::copy(test_data() / "parity" / "llama" / file, root_ / "model",
             fs::copy_options::overwrite_existing);
  }
  EXPECT_THAT(std::string(compress("{\"text\": \"words words words\"}\n").message()),
              HasSubstr("[model] towers names \"vision\"; the model has language"));
}

}  // namespace
}  // namespace swage
