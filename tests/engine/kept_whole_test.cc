// Nothing of a model is lost on its way into an export, whatever its format.
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/engine/config_text.h"
#include "swage/io/left_out.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const char kRtn[] = "[[step]]\nuse = \"rtn\"\nweight = { bits = 4, group = 32 }\n";
const char kPacked[] = "[[export]]\nuse = \"compressed-tensors\"\npath = \"out\"\n";

class KeptWhole : public RunTest {
 protected:
  static void put(const std::string& file, const std::string& content) {
    fs::create_directories((fs::path("model") / file).parent_path());
    std::ofstream(fs::path("model") / file, std::ios::binary) << content;
  }
  std::string notes() const { return to_json(result()["notes"]); }

  // The fixture in place of the model in "model", with its last block once more as a draft layer.
  static void take_with_draft(const std::string& fixture) {
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy_file(test_data() / "parity" / fixture / file, fs::path("model") / file,
                    fs::copy_options::overwrite_existing);
    Value config = must(parse_json(read_text("model/config.json"), "config.json"));
    const int64_t blocks = config.i64("num_hidden_layers", 0), width = config.i64("hidden_size", 0);
    (*config.table())["num_nextn_predict_layers"] = int64_t{1};
    std::ofstream("model/config.json") << to_json(config);
    const auto source = must(io::open_safetensors({"model/model.safetensors"}));
    std::map<std::string, at::Tensor> tensors;
    for (const std::string& name : source->names()) tensors[name] = must(source->read(name));
    const std::string last = absl::StrCat("model.layers.", blocks - 1, "."),
                      draft = absl::StrCat("model.layers.", blocks, ".");
    for (const auto& [name, tensor] : std::map<std::string, at::Tensor>(tensors)) {
      if (absl::StartsWith(name, last)) tensors[draft + name.substr(last.size())] = tensor + 1;
    }
    tensors[draft + "eh_proj.weight"] = at::randn({width, 2 * width});
    tensors[draft + "enorm.weight"] = at::randn({width});
    ASSERT_OK(io::write_safetensors("model/model.safetensors", {tensors.begin(), tensors.end()}));
  }

  // Exports by a recipe that this exporter takes; empty: none of them.
  bool export_somehow(const std::string& exporter) {
    refused_.clear();
    for (const char* scheme :
         {"weight = { bits = 4, group = 32, scale_dtype = \"fp16\" }",
          "weight = { format = \"q8_0\" }",
          "match = \"*.o_proj\"\nweight = { bits = 4, granularity = \"channel\", scale_dtype = "
          "\"fp16\" }",
          "weight = { format = \"fp8-e4m3\", granularity = \"tensor\", share = \"fused\" }\n"
          "activation = { format = \"fp8-e4m3\" }",
          "match = \"*.o_proj\"\nweight = { bits = 4, group = 32, scale_dtype = \"fp16\" }",
          "match = \"*.o_proj\"\nweight = { bits = 8, granularity = \"channel\" }\nactivation = { "
          "}",
          "weight = { format = \"nvfp4\", tensor_scale = \"multiplies\" }",
          "match = \"*.o_proj\"\nweight = { format = \"nf4\" }"}) {
      fs::remove_all("out");
      fs::remove_all(work_);
      const absl::Status status =
          run(absl::StrCat("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\n", scheme,
                           "\n[[export]]\nuse = \"", exporter, "\"\npath = \"out\"\n"));
      if (status.ok()) return true;
      absl::StrAppend(&refused_, status.message(), "\n");
    }
    return false;
  }

  std::string refused_;  // why each scheme was
};

TEST_F(KeptWhole, FilesBesideTheWeightsGoAlongByteForByte) {
  const std::map<std::string, std::string> files = {
      {"LICENSE", "free\r\n"},
      {"README.md", "---\nlicense: mit\n---\n"},
      {"tekken.json", "{\"a\":  1}"},
      {"modeling_own.py", "class Own: pass\n"},
      {"additional_chat_templates/tool.jinja", "{{ messages }}"},
      {"1_Pooling/config.json", "{}"},
      {"image.png", std::string("\x89PNG\0\1", 6)},
      {"a/b/c/d/deep.txt", "deep"}};
  for (const auto& [name, content] : files) put(name, content);
  put("consolidated.safetensors", "weights");
  put("pytorch_model-00001-of-00002.bin", "weights");
  put("onnx/model.onnx", "weights");
  put("onnx/README", "of these");
  put(".gitattributes", "* lfs");
  put("a/b/c/d/e/f.txt", "too deep");
  ASSERT_OK(run(pipeline(std::string(kRtn) + kPacked)));
  for (const auto& [name, content] : files) EXPECT_EQ(read_text("out/" + name), content) << name;
  for (const char* name : {"consolidated.safetensors", "onnx", ".gitattributes", "a/b/c/d/e"})
    EXPECT_FALSE(fs::exists(fs::path("out") / name)) << name;
  for (const char* said : {"consolidated.safetensors (weights in another form)",
                           "pytorch_model-00001-of-00002.bin (weights in another form)",
                           "onnx/ (weights of a form", "a/b/c/d/e/ (more than 4 folders deep)"})
    EXPECT_THAT(notes(), HasSubstr(said));
  EXPECT_THAT(notes(), Not(HasSubstr("model.safetensors (")));
  EXPECT_THAT(notes(), Not(HasSubstr("gitattributes")));
}

TEST_F(KeptWhole, NothingIsSaidWhereNothingIsLeftOut) {
  EXPECT_TRUE(must(io::left_out_files("model")).empty());
  EXPECT_TRUE(must(io::left_out_files("model/model.safetensors")).empty());
  ASSERT_OK(run(pipeline(std::string(kRtn) + kPacked)));
  EXPECT_THAT(notes(), Not(HasSubstr("no part of exports")));
}

TEST(ConfigText, KeepsTheSpellingOfWhatIsTheSame) {
  const std::string source =
      "{\n    \"z\": 1e-05,\n    \"name\": \"\\u00e9 \\ud83d\\ude00\",\n    \"deep\": {\n"
      "        \"b\": 1.0,\n        \"a\": [1,2,  3]\n    },\n    \"big\": 1E6,\n    \"gone\": "
      "1\n}";
  Value value = must(parse_json(source, "source"));
  EXPECT_EQ(spelled_as(source, value), source);
  value.table()->erase("gone");
  (*(*value.table())["deep"].table())["b"] = Value(2.5);
  (*value.table())["added"] = Value(Value::Table{{"k", Value(Value::List{1, 2})}});
  EXPECT_EQ(
      spelled_as(source, value),
      "{\n    \"z\": 1e-05,\n    \"name\": \"\\u00e9 \\ud83d\\ude00\",\n    \"deep\": {\n"
      "        \"b\": 2.5,\n        \"a\": [1,2,  3]\n    },\n    \"big\": 1E6,\n"
      "    \"added\": {\n        \"k\": [\n            1,\n            2\n        ]\n    }\n}");
}

TEST(ConfigText, TakesWhateverIsJson) {
  const Value value = must(parse_json("{\"a\": {\"x\": 1}, \"b\": [true, null]}", "value"));
  const std::string plain = to_json(value) + "\n";
  for (const char* source :
       {"", "[]", "3", "{", "{}", "{\"a\": 1, \"a\": {\"x\": 2}}",
        "{\"a\":{\"x\":1},\"b\":[true,null]}", "{\"b\": \"}\\\"\", \"c\": []}"})
    EXPECT_EQ(must(parse_json(spelled_as(source, value), "text")), value) << source;
  EXPECT_EQ(spelled_as("[]", value), plain);
}

TEST_F(KeptWhole, ConfigIsEditedWhereItChanges) {
  const std::string before = read_text("model/config.json");
  ASSERT_OK(run(pipeline(std::string(kRtn) + kPacked +
                         "[[export]]\nuse = \"huggingface\"\npath = \"floats\"\n")));
  EXPECT_EQ(read_text("floats/config.json"), before);
  const std::string after = read_text("out/config.json");
  EXPECT_TRUE(absl::StartsWith(after, before.substr(0, before.find_last_of("0123456789\"]e"))));
  EXPECT_THAT(after, HasSubstr("\"quantization_config\": {"));
}

TEST_F(KeptWhole, ExportsSayWhatTheyAreMadeOf) {
  const std::string toml = pipeline(std::string(kRtn) + kPacked + perplexity());
  ASSERT_OK(run(toml));
  const std::string text = read_text("out/swage.json");
  const Value made = must(parse_json(text, "swage.json"));
  EXPECT_EQ((*made["recipe"]["step"].list())[0].str("use", ""), "rtn");
  EXPECT_EQ((*made["recipe"]["export"].list())[0].str("use", ""), "compressed-tensors");
  EXPECT_TRUE(made["versions"]["plugins"].has("swage.rtn"));
  EXPECT_EQ(made["model"].str("digest", ""), result().str("model_digest", "none"));
  EXPECT_EQ(made["measured"]["metrics"], result()["metrics"]);
  EXPECT_EQ(made["measured"]["bits_per_weight"], result()["bits_per_weight"]);
  EXPECT_THAT(text, Not(HasSubstr(root_.string())));
  EXPECT_THAT(text, Not(HasSubstr(data("calibration.txt").parent_path().string())));
  // Elsewhere, the same bytes.
  fs::create_directories("elsewhere");
  fs::copy("model", "elsewhere/model", fs::copy_options::recursive);
  fs::current_path("elsewhere");
  ASSERT_OK(run(toml));
  EXPECT_TRUE(read_folder("out") == read_folder(root_ / "out"));
  // What begins with an export tells of both.
  fs::current_path(root_);
  fs::remove_all(work_);
  ASSERT_OK(
      run("[model]\npath = \"out\"\nstart = \"decoded\"\n[[export]]\nuse = \"huggingface\"\n"
          "path = \"dense\"\n[run]\nwork = \"again\"\n"));
  EXPECT_EQ(must(parse_json(read_text("dense/swage.json"), "swage.json"))["from"], made);
}

// Whatever writes a Hugging Face folder, and whatever will: taken from the catalog.
TEST_F(KeptWhole, DraftLayersStayBitForBitInEveryFormat) {
  for (const char* fixture : {"deepseek_v3", "glm4_moe"}) {
    take_with_draft(fixture);
    const auto before = must(io::open_safetensors({"model/model.safetensors"}));
    int64_t folders = 0;
    for (const Catalog::Found& found : built_plugins().components("exporter")) {
      SCOPED_TRACE(absl::StrCat(fixture, " as ", found.component->name));
      if (!export_somehow(found.component->name)) {
        // Those that know other families, or blocks larger than these matrices, or more tokens.
        constexpr const char* kOthers[] = {"lightllm", "mlc",          "ppl",
                                           "trtllm",   "bitsandbytes", "gguf"};
        EXPECT_THAT(kOthers, Contains(found.component->name)) << refused_;
        continue;
      }
      if (!fs::exists("out/config.json") || !fs::exists("out/model.safetensors")) continue;
      ++folders;
      const Value config = must(parse_json(read_text("out/config.json"), "config.json"));
      EXPECT_EQ(config.i64("num_nextn_predict_layers", 0), 1);
      const std::string draft =
          absl::StrCat("model.layers.", config.i64("num_hidden_layers", 0), ".");
      const auto after = must(io::open_safetensors({"out/model.safetensors"}));
      int64_t count = 0;
      for (const std::string& name : before->names()) {
        if (!absl::StartsWith(name, draft)) continue;
        ++count;
        ASSERT_TRUE(after->has(name)) << name;
        EXPECT_EQ(digest(must(after->read(name))), digest(must(before->read(name)))) << name;
      }
      EXPECT_GT(count, 5);
    }
    EXPECT_GE(folders, 2);
  }
}

}  // namespace
}  // namespace swage::testing_support
