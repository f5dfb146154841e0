// Embedding and head as linears: compressed where a step's match names them, kept by rule
// otherwise.
#include <gmock/gmock.h>

#include <functional>
#include <stdexcept>

#include "core/base/exit_codes.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const char kPacked[] = "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n";
const char kDense[] = "[[export]]\nuse = \"huggingface\"\npath = \"dense\"\n";
const char kBlocks[] = "[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n";
const char kHead[] = "lm_head", kEmbedding[] = "model.embed_tokens";

std::string step(const std::string& use, const std::string& match, const std::string& weight,
                 const std::string& more = "") {
  return "[[step]]\nname = \"named\"\nuse = \"" + use + "\"\nmatch = \"" + match +
         "\"\nweight = { " + weight + " }\n" + more;
}

// A run that ends at the first of its words which fits, as a lost machine would.
class StoppingReporter final : public Reporter {
 public:
  StoppingReporter(std::string phase, std::string what)
      : phase_(std::move(phase)), what_(std::move(what)) {}
  void begin_phase(const std::string& phase, int64_t, int64_t) override { now_ = phase; }
  void at(std::string_view what, double) override { look(what); }
  void unit_done(std::string_view what, const Value&) override { look(what); }
  void end_phase() override { now_.clear(); }
  void note(std::string_view) override {}
  void warning(std::string_view) override {}
  void event(const std::string&, const Value&) override {}
  void finish() override {}
  void print(std::string_view) override {}

 private:
  void look(std::string_view what) const {
    if (now_ == phase_ && what == what_) throw std::runtime_error("stopped");
  }
  const std::string phase_, what_;
  std::string now_;
};

class EndsTest : public RunTest {
 protected:
  using Tensors = std::map<std::string, at::Tensor>;

  static Tensors read(const std::string& folder) {
    const auto source = must(io::open_safetensors({folder + "/model.safetensors"}));
    Tensors tensors;
    for (const std::string& name : source->names()) tensors[name] = must(source->read(name));
    return tensors;
  }

  static Value config(const std::string& folder) {
    return must(parse_json(read_text(folder + "/config.json"), "config.json"));
  }

  // The model with a head that is the embedding's.
  static void tie() {
    Tensors tensors = read("model");
    tensors.erase("lm_head.weight");
    std::vector<std::pair<std::string, at::Tensor>> written;
    for (const auto& [name, tensor] : tensors) written.emplace_back(name, tensor.clone());
    ASSERT_OK(io::write_safetensors("model/model.safetensors", written));
    Value tied = config("model");
    (*tied.table())["tie_word_embeddings"] = true;
    std::ofstream("model/config.json") << to_json(tied);
  }

  Value linear(const std::string& name) const {
    const Value all = result();
    for (const Value& one : *all["linears"].list()) {
      if (one.str("name", "") == name) return one;
    }
    return {};
  }

  std::vector<std::string> notes() const {
    const Value all = result();
    std::vector<std::string> texts;
    for (const Value& note : *all["notes"].list()) texts.push_back(*note.text());
    return texts;
  }

  double figure(const char* side = "compressed") const {
    return result()["metrics"]["perplexity"][side].f64("perplexity", 0);
  }

  void expect_verdicts() const {
    const Value all = result();
    for (const Value& item : *all["exports"].list()) {
      EXPECT_EQ(item.str("verdict", ""), "ok") << item.str("use", "");
      EXPECT_EQ(item.f64("window_difference", 1), 0) << item.str("use", "");
    }
  }

  // What the run measured is what the checkpoint gives when it is read again.
  void expect_served(const std::vector<std::string>& checkpoints) {
    const double compressed = figure();
    EXPECT_NE(compressed, figure("original"));
    for (const std::string& checkpoint : checkpoints) {
      ASSERT_OK(eval(checkpoint, pipeline(perplexity())));
      EXPECT_EQ(figure("original"), compressed) << checkpoint;
    }
  }

  void clear() {
    for (const char* folder : {"packed", "dense", "runs", "eval-work"}) fs::remove_all(folder);
  }

  void expect_refused(const std::string& toml, const std::string& why) {
    const absl::Status status = run(pipeline(toml));
    EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kPipeline)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
    EXPECT_FALSE(fs::exists("runs"));
  }

  // Stops where the reporter says so.
  void stop_at(const std::string& toml, const std::string& phase, const std::string& what) {
    std::ofstream("pipeline.toml") << toml;
    const RunCommand command = {"run", fs::current_path().string(), "pipeline.toml", {}, {}};
    LoadedPipeline loaded = must(load_run(command));
    const auto setup = must(set_up_run(std::move(loaded)));
    work_ = setup->pipeline.run.work;
    Journal journal = must(start_journal(*setup, command));
    StoppingReporter reporter(phase, what);
    EXPECT_THROW(execute(*setup, journal, reporter).IgnoreError(), std::runtime_error)
        << phase << ": " << what;
  }
};

TEST_F(EndsTest, WithoutANameTheyKeepTheirPrecisionByRule) {
  ASSERT_OK(run(pipeline(std::string(kBlocks) + kPacked)));
  EXPECT_EQ(linear(kHead).str("kept_by", ""),
            "the head keeps its precision unless a step names it");
  EXPECT_EQ(linear(kEmbedding).str("kept_by", ""),
            "the embedding keeps its precision unless a step names it");
  EXPECT_EQ(linear(kHead).str("place", ""), "head");
  Tensors before = read("model"), after = read("packed");
  for (const char* name : {"lm_head.weight", "model.embed_tokens.weight"})
    EXPECT_TRUE(after.at(name).equal(before.at(name))) << name;
  EXPECT_EQ(*config("packed")["quantization_config"]["ignore"].list(), Value::List{"lm_head"});
}

TEST_F(EndsTest, AHeadByGptqIsServedAsItWasMeasured) {
  for (const char* bits : {"bits = 8", "bits = 4"}) {
    SCOPED_TRACE(bits);
    clear();
    const std::string head = step("gptq", kHead, std::string(bits) + ", group = 32");
    ASSERT_OK(run(pipeline(kBlocks + head + perplexity() + kPacked + kDense)));
    expect_verdicts();
    EXPECT_THAT(linear(kHead).str("provenance", ""), HasSubstr("gptq"));
    EXPECT_GT(linear(kHead).f64("error", 0), 0);
    EXPECT_TRUE(config("packed")["quantization_config"]["ignore"].list()->empty());
    EXPECT_EQ(read("packed").count("lm_head.weight_packed"), 1u);
    EXPECT_FALSE(read("dense").at("lm_head.weight").equal(read("model").at("lm_head.weight")));
    expect_served({"packed", "dense"});
  }
}

TEST_F(EndsTest, GptqUsesWhatTheHeadReads) {
  const auto measured = [&](const std::string& use) {
    clear();
    EXPECT_OK(run(pipeline(step(use, kHead, "bits = 3, group = 32") +
                           "[[evaluate]]\nuse = \"divergence\"\nsource = \"" +
                           data("calibration.txt").string() + "\"\nlength = 48\nwindows = 6\n")));
    return result()["metrics"]["divergence"]["compressed"].f64("kl_mean", 0);
  };
  const double rounded = measured("rtn"), compensated = measured("gptq");
  EXPECT_GT(compensated, 0);
  EXPECT_LT(compensated, rounded);
}

TEST_F(EndsTest, AnInputOfTheHeadIsQuantizedAsItIsServed) {
  const std::string head =
      step("gptq", kHead, "bits = 8, granularity = \"channel\"", "activation = { bits = 8 }\n");
  ASSERT_OK(run(pipeline(head + perplexity() + kPacked)));
  expect_verdicts();
  EXPECT_TRUE(linear(kHead).has("activation"));
  expect_served({"packed"});
}

TEST_F(EndsTest, OtherAlgorithmsTakeTheHeadAsASubsetOfItsOwn) {
  for (const char* use : {"awq", "rtn", "omniquant"}) {
    SCOPED_TRACE(use);
    clear();
    ASSERT_OK(run(pipeline(step(use, kHead, "bits = 4, group = 32") + perplexity() + kDense)));
    expect_verdicts();
    EXPECT_THAT(linear(kHead).str("provenance", ""), HasSubstr(use));
    if (use == std::string("awq")) {
      EXPECT_THAT(notes(), Contains(HasSubstr("head: not scaled")));
    }
    expect_served({"dense"});
  }
}

TEST_F(EndsTest, AStoppedRunEndsInTheSameBytesWhereverTheHeadStands) {
  const std::string toml =
      pipeline(kBlocks + step("gptq", kHead, "bits = 4, group = 32") + perplexity() + kPacked);
  ASSERT_OK(run(toml));
  const auto expected = read_folder("packed");
  const double compressed = figure();
  const std::pair<const char*, const char*> places[] = {{"compress", "block 0"},
                                                        {"compress", "block 1"},
                                                        {"head", "head"},
                                                        {"evaluate", "window 2 of 4"},
                                                        {"evaluate", "evaluation"}};
  for (const auto& [phase, what] : places) {
    SCOPED_TRACE(what);
    clear();
    stop_at(toml, phase, what);
    ASSERT_OK(resume());
    EXPECT_TRUE(read_folder("packed") == expected);
    EXPECT_EQ(figure(), compressed);
  }
}

TEST_F(EndsTest, ATiedHeadGetsAMatrixOfItsOwnAndSaysSo) {
  tie();
  ASSERT_OK(
      run(pipeline(step("gptq", kHead, "bits = 8, group = 32") + perplexity() + kPacked + kDense)));
  EXPECT_THAT(notes(), Contains(AllOf(HasSubstr("lm_head is tied to model.embed_tokens"),
                                      HasSubstr("the embedding stays as it is"))));
  expect_verdicts();
  const std::string table = "model.embed_tokens.weight";
  for (const char* folder : {"packed", "dense"}) {
    EXPECT_FALSE(config(folder).flag("tie_word_embeddings", true)) << folder;
    EXPECT_TRUE(read(folder).at(table).equal(read("model").at(table))) << folder;
  }
  EXPECT_FALSE(read("dense").at("lm_head.weight").equal(read("model").at(table)));
  expect_served({"packed", "dense"});
}

TEST_F(EndsTest, AnEmbeddingIsRoundedByAStepThatMeasuresNothing) {
  ASSERT_OK(run(pipeline(step("rtn", kEmbedding, "bits = 8, granularity = \"channel\"") +
                         perplexity() + kDense)));
  expect_verdicts();
  EXPECT_EQ(linear(kEmbedding).str("place", ""), "embedding");
  EXPECT_GT(linear(kEmbedding).f64("error", 0), 0);
  const Tensors before = read("model"), after = read("dense");
  for (const auto& [name, tensor] : before)
    EXPECT_EQ(after.at(name).equal(tensor), name != "model.embed_tokens.weight") << name;
  expect_served({"dense"});
}

const char kBoth[] =
    "[[step]]\nname = \"named\"\nuse = \"rtn\"\nmatch = [\"model.embed_tokens\", \"lm_head\"]\n"
    "weight = { bits = 8, group = 32, scale_dtype = \"fp16\" }\n";
const char kHalfBlocks[] =
    "[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32, scale_dtype = \"fp16\" }\n";
const char kGguf[] = "[[export]]\nuse = \"gguf\"\npath = \"gguf\"\n";
const char kMlx[] = "[[export]]\nuse = \"mlx\"\npath = \"mlx\"\n";

TEST_F(EndsTest, ATiedHeadThatIsKeptStaysWhatTheTableWas) {
  tie();
  ASSERT_OK(
      run(pipeline(std::string(kBoth) + "[[step.override]]\nmatch = \"lm_head\"\nkeep = true\n" +
                   perplexity() + kDense)));
  EXPECT_THAT(notes(), Contains(HasSubstr("the head stays as it is")));
  expect_verdicts();
  const at::Tensor table = read("model").at("model.embed_tokens.weight");
  EXPECT_TRUE(read("dense").at("lm_head.weight").equal(table));
  EXPECT_FALSE(read("dense").at("model.embed_tokens.weight").equal(table));
  expect_served({"dense"});
}

TEST_F(EndsTest, ATiedHeadReadsWhatBecomesOfTheEmbeddingAndIsStoredOnce) {
  tie();
  const std::string steps[] = {
      step("rtn", kEmbedding, "bits = 8, group = 32, scale_dtype = \"fp16\""), kBoth};
  std::map<std::string, std::string> files[2];
  for (int i = 0; i < 2; ++i) {
    SCOPED_TRACE(i);
    for (const char* folder : {"gguf", "mlx", "dense", "runs"}) fs::remove_all(folder);
    ASSERT_OK(run(pipeline(kHalfBlocks + steps[i] + perplexity() + kDense + kGguf + kMlx)));
    EXPECT_THAT(notes(), Contains(HasSubstr("lm_head is tied to model.embed_tokens and reads")));
    expect_verdicts();
    EXPECT_GT(linear(kEmbedding).f64("error", 0), 0);
    EXPECT_EQ(linear(kHead).table(), nullptr) << "it has no matrix of its own";
    for (const char* folder : {"dense", "mlx", "gguf"})
      EXPECT_TRUE(config(folder).flag("tie_word_embeddings", false)) << folder;
    for (const char* folder : {"dense", "mlx"})
      for (const auto& [name, tensor] : read(folder)) EXPECT_THAT(name, Not(HasSubstr("lm_head")));
    files[i] = read_result("gguf");
    expect_served({"dense", "mlx", "gguf"});
  }
  EXPECT_TRUE(files[0] == files[1]);
}

TEST_F(EndsTest, ReadersThatKnowNoTieGetTheMatrixTwice) {
  tie();
  const std::string liar = "[[export]]\nuse = \"liar\"\npath = \"out\"\nhow = \"honest\"\n";
  ASSERT_OK(run(pipeline(kBoth + perplexity() + liar), {},
                {std::string(std::getenv("SWAGE_BUILD_DIR")) + "/abi/abi_liar"}));
  expect_verdicts();
  EXPECT_THAT(notes(), Contains(HasSubstr("holds the matrix of model.embed_tokens twice")));
  EXPECT_FALSE(config("out").flag("tie_word_embeddings", true));
  const Tensors out = read("out");
  EXPECT_TRUE(out.at("lm_head.weight").equal(out.at("model.embed_tokens.weight")));
}

TEST_F(EndsTest, AStoppedRunKeepsTheTie) {
  tie();
  const std::string toml = pipeline(kHalfBlocks + std::string(kBoth) + perplexity() + kGguf);
  ASSERT_OK(run(toml));
  const auto expected = read_folder("gguf");
  const double compressed = figure();
  const std::pair<const char*, const char*> places[] = {{"compress", "block 1"},
                                                        {"evaluate", "window 2 of 4"}};
  for (const auto& [phase, what] : places) {
    SCOPED_TRACE(what);
    for (const char* folder : {"gguf", "runs"}) fs::remove_all(folder);
    stop_at(toml, phase, what);
    ASSERT_OK(resume());
    EXPECT_TRUE(read_folder("gguf") == expected);
    EXPECT_EQ(figure(), compressed);
  }
}

TEST_F(EndsTest, ATieIsGivenUpWhereTheEndsAreRotated) {
  tie();
  ASSERT_OK(
      run(pipeline("[[step]]\nuse = \"quarot\"\n" + std::string(kBoth) + perplexity() + kDense)));
  expect_verdicts();
  EXPECT_FALSE(config("dense").flag("tie_word_embeddings", true));
  EXPECT_TRUE(linear(kHead).has("weight")) << "compressed for itself";
  expect_served({"dense"});
}

TEST_F(EndsTest, AFamilyThatScalesWhatItEmbedsKeepsTheTie) {
  for (const char* file : {"config.json", "model.safetensors"})
    fs::copy(test_data() / "parity/gemma2" / file, "model", fs::copy_options::overwrite_existing);
  std::ofstream("ids.json") << "{\"input_ids\": [[1, 5, 9, 40, 33, 2, 7, 81, 64, 3, 11, 90]]}";
  const std::string evaluate =
      "[[evaluate]]\nuse = \"perplexity\"\nsource = \"ids.json\"\nlength = 12\n";
  ASSERT_OK(run(pipeline(step("rtn", kEmbedding, "bits = 8, group = 8") + evaluate + kDense)));
  expect_verdicts();
  EXPECT_EQ(read("dense").count("lm_head.weight"), 0u);
  const double compressed = figure();
  ASSERT_OK(eval("dense", pipeline(evaluate)));
  EXPECT_EQ(figure("original"), compressed);
}

TEST_F(EndsTest, WhatCannotWorkIsRefusedBeforeAnyWork) {
  expect_refused(step("gptq", kEmbedding, "bits = 8, group = 32") + kDense,
                 "\"gptq\" measures activations");
  expect_refused(step("rtn", kEmbedding, "bits = 8, group = 32") + kPacked,
                 "an embedding in floats alone");
  expect_refused(step("rtn", kHead, "bits = 8, group = 48") + kDense, "does not divide");
  expect_refused("[[step]]\nuse = \"smoothquant\"\nmatch = \"lm_head\"\n" +
                     step("rtn", "*_proj", "bits = 8, group = 32") + kDense,
                 "no step gives it a format");
  expect_refused(step("rtn", "lm_hat", "bits = 8, group = 32") + kDense, "fits no linear");
}

TEST_F(EndsTest, AMatchThatNamesTheHeadTakesItAndAnOverrideKeepsIt) {
  const std::string all = step("gptq", "*{_proj,head}", "bits = 4, group = 32");
  ASSERT_OK(run(pipeline(all + kPacked)));
  EXPECT_TRUE(linear(kHead).has("weight"));
  clear();
  ASSERT_OK(run(pipeline(all + "[[step.override]]\nmatch = \"lm_head\"\nkeep = true\n" + kPacked)));
  EXPECT_THAT(linear(kHead).str("kept_by", ""), HasSubstr("keep = true in step"));
  EXPECT_TRUE(read("packed").at("lm_head.weight").equal(read("model").at("lm_head.weight")));
}

TEST_F(EndsTest, AMatchOfWildcardsAloneMeansTheBlocks) {
  for (const char* match : {"*", "model.*"}) {
    clear();
    ASSERT_OK(run(pipeline(step("rtn", match, "bits = 4, group = 32") + kPacked)));
    EXPECT_TRUE(linear(kHead).has("kept_by")) << match;
  }
}

}  // namespace
}  // namespace swage::testing_support
