// What a run says when what it is given does not hold. Nothing is computed, and nothing is written,
// before all of that has been looked at.
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include <limits>

#include "core/base/exit_codes.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;
using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

const char kPacked[] = "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n";
const char kGptq[] = "[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n";
const char kWeights[] = "model/model.safetensors";

class BadInput : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    setenv("XDG_CACHE_HOME", (root_ / "cache").c_str(), 1);  // memory of earlier probes
  }

  static void expect_error(const absl::Status& status, ExitCode code, const Words& words) {
    EXPECT_EQ(exit_code(status), static_cast<int>(code)) << status;
    for (const std::string& word : words)
      EXPECT_THAT(std::string(status.message()), HasSubstr(word));
  }
  void expect_refused(const absl::Status& status, ExitCode code, const Words& words) {
    expect_error(status, code, words);
    EXPECT_FALSE(fs::exists("runs"));
    EXPECT_FALSE(fs::exists("packed"));
  }
  std::string whole() const { return pipeline(kGptq + perplexity() + kPacked); }
  void expect_model_refused(const Words& words) {
    expect_refused(run(whole()), ExitCode::kInput, words);
  }
  void expect_pipeline_refused(const std::string& toml, const Words& words) {
    expect_refused(run(toml), ExitCode::kPipeline, words);
  }

  // A file with a header of any kind.
  static void write_safetensors_text(const std::string& header, size_t data_bytes) {
    std::string length(8, '\0');
    for (size_t i = 0; i < length.size(); ++i)
      length[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
    std::ofstream(kWeights, std::ios::binary) << length << header << std::string(data_bytes, '\0');
  }
  static Tensors read_weights() {
    const auto source = must(io::open_safetensors({kWeights}));
    Tensors tensors;
    for (const std::string& name : source->names())
      tensors.emplace_back(name, must(source->read(name)));
    return tensors;
  }
  static void write_index(const std::string& shard) {
    fs::remove(kWeights);
    std::ofstream("model/model.safetensors.index.json")
        << "{\"weight_map\": {\"lm_head.weight\": \"" << shard << "\"}}";
  }
  static std::string abi(const std::string& plugin) {
    return std::string(std::getenv("SWAGE_BUILD_DIR")) + "/abi/" + plugin;
  }
  absl::Status run_step(const std::string& step, const Words& plugin_path) {
    fs::remove_all("runs");
    fs::remove_all("packed");
    return run(pipeline(kGptq + ("[[step]]\n" + step) + kPacked), {}, plugin_path);
  }
  size_t committed_blocks() const { return must(must(Journal::open(work_)).all("block")).size(); }
};

TEST_F(BadInput, TruncatedWeightsNameTheFileAndWhatIsMissing) {
  const auto size = fs::file_size(kWeights);
  fs::resize_file(kWeights, size - 1);
  expect_model_refused({kWeights, "the file is truncated"});
  fs::resize_file(kWeights, 100);
  expect_model_refused({kWeights, "the header claims", "the file has 100"});
  fs::resize_file(kWeights, 5);
  expect_model_refused({kWeights, "has 5 bytes, too few"});
}

TEST_F(BadInput, LyingHeadersAreNotBelieved) {
  write_safetensors_text(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 8);
  expect_model_refused({kWeights, "\"a\" ends at byte 16 of the data, which has 8"});
  write_safetensors_text(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}})", 8);
  expect_model_refused({kWeights, "do not fit F32 [4], which takes 16"});
  write_safetensors_text(
      R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8);
  expect_model_refused({kWeights, "the product of its shape overflows"});
  std::ofstream(kWeights, std::ios::binary) << std::string(64, '\xff');
  expect_model_refused({kWeights, "this is no safetensors file"});
}

TEST_F(BadInput, AnIndexMustNameFilesOfItsFolder) {
  fs::copy(kWeights, "outside.safetensors");
  write_index("../outside.safetensors");
  expect_model_refused({"model.safetensors.index.json", "../outside.safetensors"});
  write_index("model-00001-of-00001.safetensors");
  expect_model_refused({"model-00001-of-00001.safetensors"});
}

TEST_F(BadInput, PickledWeightsAreRefusedWithAdvice) {
  fs::rename(kWeights, "model/pytorch_model.bin");
  expect_model_refused({"model", "safetensors", ".bin"});
}

TEST_F(BadInput, TensorsThatNoRuleNamesAreNotDropped) {
  Tensors tensors = read_weights();
  tensors.emplace_back("model.layers.0.self_attn.q_norm.weight", at::ones({16}));
  ASSERT_OK(io::write_safetensors(kWeights, tensors));
  expect_model_refused({"named by no rule", "q_norm", "needs an adapter that knows them"});
}

TEST_F(BadInput, AConfigOfAnotherModelOrTypeIsRefused) {
  const std::string config = read_text("model/config.json");
  fs::remove("model/config.json");
  expect_model_refused({"holds no config.json"});
  std::ofstream("model/config.json") << "{ \"model_type\": ";
  expect_model_refused({"model/config.json"});
  std::ofstream("model/config.json") << R"({"model_type": "made_up"})";
  expect_model_refused({"no model adapter serves", "made_up"});
  std::string wrong = config;
  wrong.replace(wrong.find("\"hidden_size\": 64"), 17, "\"hidden_size\": \"x\"");
  std::ofstream("model/config.json") << wrong;
  expect_model_refused({"model", "hidden_size"});
}

TEST_F(BadInput, ANanWeightIsNamedAndCostsNoFinishedBlock) {
  const Tensors sound = read_weights();
  Tensors broken;
  for (const auto& [name, tensor] : sound) {
    broken.emplace_back(name, tensor.clone());
    if (name == "model.layers.1.mlp.down_proj.weight")
      broken.back().second[0][3] = std::numeric_limits<float>::quiet_NaN();
  }
  ASSERT_OK(io::write_safetensors(kWeights, sound));
  ASSERT_OK(run(whole()));
  const auto undisturbed = read_folder("packed");
  fs::remove_all("packed");
  fs::remove_all("runs");

  ASSERT_OK(io::write_safetensors(kWeights, broken));
  expect_error(run(whole()), ExitCode::kInput,
               {"model.layers.1.mlp.down_proj.weight holds NaN at [0, 3]"});
  EXPECT_EQ(committed_blocks(), 1u);
  ASSERT_OK(io::write_safetensors(kWeights, sound));
  ASSERT_OK(resume());
  EXPECT_TRUE(read_folder("packed") == undisturbed);
}

TEST_F(BadInput, CalibrationDataIsCheckedBeforeTheRun) {
  std::ofstream("empty.txt");
  std::ofstream("short.txt") << "ten tokens";
  std::ofstream("bytes.txt") << "text\n\xff\xfe";
  std::ofstream("lines.jsonl") << "{\"text\": \"fine\"}\n{\"text\": \"broken\n";
  std::ofstream("unknown.json") << R"({"input_ids": [[1, 2, 999]]})";
  std::ofstream("none.json") << R"({"input_ids": []})";
  const std::pair<const char*, Words> cases[] = {
      {"empty.txt", {"which is empty"}},
      {"short.txt", {"at least 48", "more text or a smaller length"}},
      {"bytes.txt", {"bytes.txt:2", "not valid UTF-8"}},
      {"lines.jsonl", {"lines.jsonl:2"}},
      {"unknown.json", {"token id 999", "the model knows 0 to 255", "another tokenizer"}},
      {"none.json", {"expected token ids as"}}};
  for (const auto& [file, words] : cases) {
    SCOPED_TRACE(file);
    expect_refused(run(whole(), {std::string("calibration.source=") + file}), ExitCode::kInput,
                   words);
    expect_error(run(whole(), {std::string("calibration.source=") + file}), ExitCode::kInput,
                 {file});
  }
  expect_refused(run(whole(), {"calibration.source=gone.txt"}), ExitCode::kPipeline, {"gone.txt"});
}

TEST_F(BadInput, EvaluationDataIsCheckedBeforeTheRun) {
  std::ofstream("empty.txt");
  std::ofstream("unknown.json") << R"({"input_ids": [[1, 2, 999]]})";
  expect_refused(run(whole(), {"evaluate.perplexity.source=empty.txt"}), ExitCode::kInput,
                 {"perplexity", "empty.txt", "the file is empty"});
  expect_refused(
      run(whole(), {"evaluate.perplexity.source=unknown.json", "evaluate.perplexity.length=3"}),
      ExitCode::kInput, {"perplexity: sequence 0 has the token id 999"});
}

TEST_F(BadInput, AMissingOrBrokenTokenizerIsAnErrorOfTheModel) {
  std::ofstream("ids.json") << R"({"input_ids": [[1, 2, 3]]})";
  const std::vector<std::string> ids = {"calibration.source=ids.json"};
  fs::remove("model/tokenizer.json");
  expect_refused(run(whole()), ExitCode::kInput, {"holds neither tokenizer.json"});
  expect_refused(run(whole(), ids), ExitCode::kInput, {"holds neither tokenizer.json"});
  std::ofstream("model/merges.txt") << "a b\n";
  expect_refused(run(whole()), ExitCode::kInput, {"merges.txt", "save_pretrained"});
  std::ofstream("model/tokenizer.model") << "no model";
  expect_refused(run(whole()), ExitCode::kInput, {"tokenizer.model: no protobuf message"});
  std::ofstream("model/tokenizer.json") << "{";
  expect_refused(run(whole()), ExitCode::kInput, {"tokenizer.json"});
}

TEST_F(BadInput, ChatsNeedAChatTemplate) {
  std::ofstream("chats.jsonl") << R"({"messages": [{"role": "user", "content": "a long one"}]})";
  const std::vector<std::string> chats = {"calibration.source=chats.jsonl",
                                          "calibration.recipe=whole"};
  expect_refused(run(whole(), chats), ExitCode::kInput,
                 {"chats.jsonl:1: ", "no chat template", "chat_template.jinja"});
  std::ofstream("model/chat_template.jinja") << "{{ messages[0].content }}";
  EXPECT_TRUE(run(whole(), chats).ok());
}

TEST_F(BadInput, AWorkFolderThatCannotBeWrittenIsNoFaultOfTheData) {
  fs::create_directories("runs/pipeline");
  for (const char* folder : {"parts", "state"}) {
    std::ofstream(fs::path("runs/pipeline") / folder) << "in the way";
    expect_error(run(whole()), ExitCode::kResources,
                 {std::string("runs/pipeline/") + folder, "cannot be created", "swage resume"});
    fs::remove(fs::path("runs/pipeline") / folder);
    ASSERT_OK(resume());
    fs::remove_all("runs/pipeline/run.db");
    fs::remove_all("runs/pipeline/state");
    fs::remove_all("packed");
  }
}

TEST_F(BadInput, MistakesInThePipelineFileAreNamedWhereTheyStand) {
  expect_pipeline_refused("[model\n", {"pipeline.toml:1"});
  expect_pipeline_refused(whole() + "[run]\nthread = 2\n",
                          {"pipeline.toml:", "\"thread\" is no key of [run]", "\"threads\""});
  expect_pipeline_refused(pipeline("[[step]]\nuse = \"gptq\"\ndamping = \"high\"\n"),
                          {"pipeline.toml:9:", "damping", "expected a number"});
  expect_pipeline_refused(pipeline("[[step]]\nuse = \"gptq\"\nweight = { bits = 9 }\n"),
                          {"pipeline.toml:9:", "bits", "9"});
  expect_pipeline_refused(pipeline("[[step]]\nuse = \"gtpq\"\n"),
                          {"pipeline.toml:8:", "did you mean \"gptq\"?"});
  expect_pipeline_refused(
      pipeline("[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 48 }\n"),
      {"pipeline.toml:7:", "group = 48 does not divide the input width 64", "group = 32, 16"});
  expect_pipeline_refused(pipeline("[[step]]\nuse = \"gptq\"\nmatch = \"*.q_prj\"\n"),
                          {"pipeline.toml:7:", "\"*.q_prj\" fits no linear"});
}

TEST_F(BadInput, PluginFilesThatCannotBeUsedAreRefusedWithTheReason) {
  struct Case {
    const char *plugin, *use;
    Words words;
  };
  const Case cases[] = {
      {"abi_wrong_torch", "good", {"torch (LibTorch): the plugin was built with 2.10.0"}},
      {"abi_wrong_sanitizer", "good", {"san (sanitizer)", "build the plugin again"}},
      {"abi_newer_minor", "good", {"was built for 1.7", "update swage"}},
      {"abi_other_name", "gone", {"disagrees with its own manifest"}},
      {"abi_throws_at_load", "good", {"opening it ends the process", "static initialiser"}}};
  for (const Case& item : cases) {
    SCOPED_TRACE(item.plugin);
    const absl::Status status =
        run_step("use = \"" + std::string(item.use) + "\"\n", {abi(item.plugin)});
    expect_refused(status, ExitCode::kPlugin, item.words);
    expect_error(status, ExitCode::kPlugin, {std::string(item.plugin) + ".swage.so"});
  }
}

TEST_F(BadInput, APluginThatRepeatsAnothersComponentIsRefused) {
  expect_refused(
      run(pipeline("[[evaluate]]\nuse = \"second\"\n"), {}, {abi("abi_good"), abi("abi_pair")}),
      ExitCode::kPlugin, {"abi_pair.swage.so", "repeats the algorithm \"good\""});
}

TEST_F(BadInput, FilesThatAreNoPluginAreNamedWhereAComponentIsMissed) {
  fs::create_directories("plugins");
  std::ofstream("plugins/text.swage.so") << "plain text";
  expect_refused(run_step("use = \"good\"\n", {"plugins"}), ExitCode::kPipeline,
                 {"no algorithm \"good\"", "text.swage.so is not usable: no ELF file"});
  fs::remove("plugins/text.swage.so");
  fs::copy(fs::path(abi("abi_good")) / "abi_good.swage.so", "plugins/cut.swage.so");
  fs::resize_file("plugins/cut.swage.so", 5000);
  expect_refused(run_step("use = \"good\"\n", {"plugins"}), ExitCode::kPipeline,
                 {"cut.swage.so is not usable: truncated: the file has 5000 bytes"});
}

TEST_F(BadInput, AnAlgorithmThatThrowsIsNamedWithItsPlaceAndCostsNoFinishedBlock) {
  const Words path = {abi("abi_thrower")};
  const std::string step = "use = \"thrower\"\nwhere = \"";
  expect_refused(run_step(step + "create\"\n", path), ExitCode::kPlugin,
                 {"thrower: create: exception: cannot be made"});
  for (const char* where : {"std", "torch", "int"}) {
    expect_error(run_step(step + where + "\"\n", path), ExitCode::kPlugin,
                 {"block 0: thrower: block 0"});
    EXPECT_EQ(committed_blocks(), 0u);
  }
  expect_error(run_step(step + "later\"\n", path), ExitCode::kPlugin,
               {"block 1: thrower", "row 7 of 5"});
  EXPECT_EQ(committed_blocks(), 1u);
  expect_error(resume(), ExitCode::kPlugin, {"block 1: thrower"});
  EXPECT_EQ(committed_blocks(), 1u);
}

}  // namespace
}  // namespace swage::testing_support
