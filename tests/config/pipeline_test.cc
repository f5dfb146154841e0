#include "core/config/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "core/base/exit_codes.h"
#include "tests/config/test_catalog.h"

namespace swage {
namespace {

using testing::ElementsAre;
using testing_support::FolderTest;
using testing_support::small_catalog;

const char kModel[] = "[model]\npath = \"model\"\n";
const char kCalibration[] = "[calibration]\nsource = \"text.txt\"\n";

class PipelineFile : public FolderTest {
 protected:
  absl::StatusOr<Pipeline> load(const std::string& text,
                                const std::vector<std::string>& sets = {}) {
    return load_pipeline(write("p.toml", text), sets, small_catalog());
  }
  // What is wrong with a file, its folder shortened to ".".
  std::string problems(const std::string& text, const std::vector<std::string>& sets = {},
                       int code = 3) {
    const auto pipeline = load(text, sets);
    EXPECT_FALSE(pipeline.ok());
    EXPECT_EQ(exit_code(pipeline.status()), code);
    return absl::StrReplaceAll(std::string(pipeline.status().message()), {{folder_.string(), "."}});
  }
};

TEST_F(PipelineFile, KeepsWhatAGlobOfManyAlternativesNames) {
  std::string layers;
  for (int i = 0; i < 1200; ++i) layers += (i == 0 ? "" : ",") + std::to_string(i);
  const std::string step = std::string(kModel) + "[[step]]\nuse = \"round\"\n[[step.override]]\n";
  const auto pipeline = load(step + "match = \"*.{" + layers + "}.up\"\nkeep = true\n");
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  EXPECT_TRUE(scheme_for(pipeline->steps[0], "model.layers.1199.up").keep);
  EXPECT_FALSE(scheme_for(pipeline->steps[0], "model.layers.1200.up").keep);
  EXPECT_EQ(problems(step + "match = \"*" + std::string(20000, 'a') + "\"\nkeep = true\n"),
            "./p.toml:6:9: \"match\" is a pattern of 20001 characters, at most 16384 are matched; "
            "give several patterns");
}

TEST_F(PipelineFile, NamesAFewOfManyProblems) {
  std::string keys;
  for (int i = 0; i < 60; ++i) keys += "k" + std::to_string(i) + " = 1\n";
  const std::string found = problems(std::string(kModel) + keys + "[[step]]\nuse = \"round\"\n");
  EXPECT_THAT(found, testing::HasSubstr("\"k49\" is no key of [model]"));
  EXPECT_THAT(found, testing::EndsWith("\nand 10 more problems"));
}

TEST_F(PipelineFile, BecomesAPipelineWithEveryDefault) {
  const auto pipeline = load(std::string(kModel) + kCalibration + R"(
[scheme]
weight = { group = 64 }
[[step]]
use = "smooth"
[[step]]
use = "sweep"
name = "second"
match = "*.up"
calibrate_on = "original"
weight = { bits = 3 }
damping = 1
[[step.override]]
match = "*.9.up"
weight = { bits = 8 }
[[step.override]]
match = "*.7.up"
keep = true
[[evaluate]]
use = "score"
source = "text.txt"
[[export]]
use = "writer"
path = "out"
)");
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  EXPECT_EQ(pipeline->model_path, path("model"));
  EXPECT_EQ(pipeline->calibration->source, path("text.txt"));
  EXPECT_EQ(pipeline->calibration->samples, 128);
  ASSERT_EQ(pipeline->steps.size(), 2u);
  EXPECT_FALSE(pipeline->steps[0].takes_weight) << "smooth chooses no weight format";
  const Step& step = pipeline->steps[1];
  EXPECT_EQ(step.name, "second");
  EXPECT_EQ(step.weight.i64("bits"), 3);
  EXPECT_EQ(step.weight.i64("group"), 64);
  EXPECT_EQ(step.params.f64("damping"), 1.0);
  EXPECT_EQ(step.params.text("order"), "none");
  EXPECT_FALSE(step.params.has("hint"));
  EXPECT_EQ(step.calibrate_on, "original");
  EXPECT_EQ(pipeline->evaluates[0].params.text("source"), path("text.txt"));
  EXPECT_EQ(pipeline->exports[0].path, (std::filesystem::current_path() / "out").string());
  EXPECT_EQ(pipeline->run.work, (std::filesystem::current_path() / "runs/p").string());

  EXPECT_EQ(scheme_for(step, "l.9.up").weight.i64("bits"), 8);
  EXPECT_EQ(scheme_for(step, "l.8.up").weight.i64("bits"), 3);
  EXPECT_TRUE(scheme_for(step, "l.7.up").keep);
  EXPECT_FALSE(scheme_for(step, "l.8.down").applies);
}

TEST_F(PipelineFile, IsEqualToItselfHoweverItIsWritten) {
  const std::string text =
      std::string(kModel) + "[[step]]\nuse = \"round\"\nweight = { bits = 4 }\n";
  const auto plain = load(text), spelled = load(text + "name = \"round\"\n[run]\nseed = 0\n");
  const auto other = load(text, {"step.round.weight.bits=3"});
  ASSERT_TRUE(plain.ok() && spelled.ok() && other.ok());
  EXPECT_EQ(to_json(plain->effective), to_json(spelled->effective));
  EXPECT_THAT(differences(plain->effective, other->effective),
              ElementsAre("step[0].weight.bits: 4, now 3"));
}

TEST_F(PipelineFile, ExpertsOfAMixtureSeeRoutedTokensUnlessToldOtherwise) {
  const std::string text =
      std::string(kModel) + "[calibration]\nsource = \"text.txt\"\n[[step]]\nuse = \"round\"\n";
  const auto plain = load(text), all = load(text, {"calibration.experts=all"}),
             top = load(text, {"calibration.experts=top-8", "calibration.expert_tokens=5"});
  ASSERT_TRUE(plain.ok() && all.ok() && top.ok());
  EXPECT_EQ(plain->calibration->experts_seen, 0);
  EXPECT_EQ(all->calibration->experts_seen, -1);
  // A run that goes on must measure as it began.
  EXPECT_THAT(
      differences(plain->effective, top->effective),
      ElementsAre("calibration.expert_tokens: 32, now 5", "calibration.experts_seen: 0, now 8"));
  EXPECT_THAT(std::string(load(text, {"calibration.experts=top-none"}).status().message()),
              testing::HasSubstr("expected \"routed\", \"all\" or, for example, \"top-8\""));
}

TEST_F(PipelineFile, ListsEveryProblemWithItsPlace) {
  EXPECT_EQ(problems(R"([model]
path = "gone"
[calibration]
source = "text.txt"
recipe = "evn"
sample = 4
[[step]]
use = "sweep"
damping = 2
order = 3
passes = 1.5
fast = "yes"
names = ["a", 1]
wieght = { bits = 4 }
[runn]
)"),
            "./p.toml:15:2: \"runn\" is no section of a pipeline file; did you mean \"run\"?\n"
            "./p.toml:2:8: \"path\" is \"gone\", but there is no \"./gone\"\n"
            "./p.toml:5:10: \"recipe\" is \"evn\"; expected one of \"even\", \"gptq\", \"awq\", "
            "\"whole\"\n"
            "./p.toml:6:1: \"sample\" is no key of [calibration]; did you mean \"samples\"?\n"
            "./p.toml:9:11: \"damping\" is 2; expected a number, 0 to 1\n"
            "./p.toml:10:9: \"order\" is an integer; expected one of \"none\", \"activation\"\n"
            "./p.toml:11:10: \"passes\" is a float; expected an integer\n"
            "./p.toml:12:8: \"fast\" is a string; expected true or false\n"
            "./p.toml:13:9: \"names\" is a list with an integer; expected a list of strings\n"
            "./p.toml:14:1: \"wieght\" is no key of step \"sweep\"; did you mean \"weight\"?");
}

TEST_F(PipelineFile, SaysWhatIsMissing) {
  EXPECT_EQ(problems("[[evaluate]]\nuse = \"score\"\n[[export]]\nuse = \"writer\"\n[[step]]\n"),
            "./p.toml: [model] lacks \"path\", the path of a file or folder: Folder of a Hugging "
            "Face checkpoint, or a GGUF file.\n"
            "./p.toml:5:1: [[step]] lacks use = \"…\", the name of the component\n"
            "./p.toml:1:1: evaluate \"score\" lacks \"source\", the path of a file or folder: What "
            "source is for.\n"
            "./p.toml:3:1: export \"writer\" lacks \"path\", a string: Folder to write, relative "
            "to the current one.");
  EXPECT_EQ(problems(kModel),
            "./p.toml: nothing to do: there is no [[step]], no [[evaluate]] and no [[export]]");
  EXPECT_EQ(problems(std::string(kModel) + "[[step]]\nuse = \"sweep\"\n"),
            "./p.toml:3:1: step \"sweep\" measures activations, but there is no [calibration] with "
            "source = \"…\"");
}

TEST_F(PipelineFile, WantsSectionsInTheirOwnBrackets) {
  EXPECT_EQ(problems("model = 3\n[step]\nuse = \"round\"\n"),
            "./p.toml:1:1: \"model\" is an integer; write [model]\n"
            "./p.toml:2:2: \"step\" is a table; write [[step]]\n"
            "./p.toml:1:9: [model] lacks \"path\", the path of a file or folder: Folder of a "
            "Hugging Face checkpoint, or a GGUF file.");
}

TEST_F(PipelineFile, PutsSchemeErrorsAtTheirKey) {
  const std::string text = std::string(kModel) + "[[step]]\nuse = \"round\"\n";
  EXPECT_EQ(problems(text + "weight = { bits = 9 }\n"),
            "./p.toml:5:12: \"bits\" is 9; expected an integer, 2 to 8");
  EXPECT_EQ(problems(text + "weight = { bit = 4 }\n"),
            "./p.toml:5:12: \"bit\" is no key of weight = { format = \"int\" }; did you mean "
            "\"bits\"?");
  EXPECT_EQ(
      problems(text + "weight = { format = \"fp8-e4m3\", granularity = \"tensor\", group = 64 }\n"),
      "./p.toml:5:57: \"group\" needs granularity = \"group\", found \"tensor\"");
  EXPECT_EQ(problems(text + "weight = 4\n"),
            "./p.toml:5:1: a scheme is a table such as { bits = 4 }, found an integer");
  EXPECT_EQ(problems(text + "weight = { format = \"dense\" }\n"),
            "./p.toml:5:12: there is no format \"dense\"; write [[step.override]] with keep = "
            "true, which leaves linears in floats");
  EXPECT_EQ(problems(text + "activation = { dynamic = false }\n"),
            "./p.toml:5:16: dynamic = false needs granularity = \"tensor\", found \"token\"");
  EXPECT_EQ(problems(text, {"step.round.weight.bits=1"}),
            "--set step.round.weight.bits=1: \"bits\" is 1; expected an integer, 2 to 8");
  EXPECT_EQ(problems(text + "[scheme.weight]\nbits = 0\n"),
            "./p.toml:6:1: \"bits\" is 0; expected an integer, 2 to 8");
}

TEST_F(PipelineFile, RefusesASchemeWhereTheAlgorithmChoosesNone) {
  EXPECT_EQ(problems(std::string(kModel) + kCalibration +
                     "[[step]]\nuse = \"smooth\"\nweight = { bits = 4 }\n[[step]]\nuse = "
                     "\"sweep\"\nactivation = { bits = 8 }\n"),
            "./p.toml:7:1: \"weight\" does not belong to step \"smooth\": \"smooth\" chooses no "
            "weight format; put it on the step "
            "that does, or under [scheme]\n"
            "./p.toml:10:1: \"activation\" does not belong to step \"sweep\": \"sweep\" chooses no "
            "activation format; put it on the "
            "step that does, or under [scheme]");
}

TEST_F(PipelineFile, RefusesCalibrationOfAStepThatMeasuresNothing) {
  const std::string text = std::string(kModel) + "[[step]]\nuse = \"round\"\n";
  EXPECT_EQ(problems(text + "calibrate_on = \"original\"\n"),
            "./p.toml:5:1: \"calibrate_on\" does not belong to step \"round\": \"round\" measures "
            "no activations");
  EXPECT_EQ(problems(text + "activation = { granularity = \"tensor\", dynamic = false }\n"),
            "./p.toml:3:1: step \"round\" measures activations, but there is no [calibration] with "
            "source = \"…\"");
}

TEST_F(PipelineFile, WantsCalibrationForSchemesThatMeasure) {
  const std::string text = std::string(kModel) + "[[step]]\nuse = \"round\"\n";
  const std::string weighted = "weight = { range = \"weighted\" }\n";
  const std::string told =
      "./p.toml:3:1: step \"round\" measures activations, but there is no [calibration] with "
      "source = \"…\"";
  EXPECT_EQ(problems(text + weighted), told);
  EXPECT_EQ(
      problems(text + "weight = { bits = 4 }\n[[step.override]]\nmatch = \"*.up\"\n" + weighted),
      told);
  EXPECT_EQ(problems(text + "activation = { bits = 8 }\n[[step.override]]\nmatch = \"*.up\"\n"
                            "activation = { granularity = \"tensor\", dynamic = false }\n"),
            told);
  EXPECT_EQ(problems(text + "[scheme]\n" + weighted), told);
  EXPECT_EQ(
      problems(text + "activation = { bits = 8 }\n[[step.override]]\nmatch = \"*\"\n" + weighted),
      told)
      << "a step that is given an activation scheme rounds weights as well";
  EXPECT_EQ(problems(text + "activation = { granularity = \"tensor\" }\n[[step.override]]\nmatch = "
                            "\"*\"\nactivation = { headroom = 1.2 }\n"),
            told)
      << "what a key implies counts";
  EXPECT_TRUE(load(text + weighted + "calibrate_on = \"original\"\n" + kCalibration).ok());
  EXPECT_TRUE(load(std::string(kModel) + "[[step]]\nuse = \"smooth\"\n[scheme]\n" + weighted).ok())
      << "a step that rounds nothing measures nothing";
}

TEST_F(PipelineFile, LaysTablesOverOneAnother) {
  const auto pipeline = load(std::string(kModel) + R"([scheme]
weight = { format = "fp8-e4m3", granularity = "tensor" }
[[step]]
use = "round"
weight = { range = "mse" }
[[step.override]]
match = "*.up"
weight = { format = "int", bits = 3 }
[[step.override]]
match = "*.0.up"
weight = { format = "int", group = 32 }
[[step.override]]
match = "*.1.*"
activation = { bits = 6 }
)");
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  const Step& step = pipeline->steps[0];
  const Scheme down = scheme_for(step, "l.0.down").weight;
  EXPECT_EQ(down.format, "fp8-e4m3");
  EXPECT_EQ(down.text("granularity"), "tensor");
  EXPECT_EQ(down.text("range"), "mse");
  const Scheme up = scheme_for(step, "l.0.up").weight;
  EXPECT_EQ(up.i64("bits"), 3) << "the same format again goes on from the override before";
  EXPECT_EQ(up.i64("group"), 32);
  EXPECT_EQ(up.text("range"), "minmax") << "another format starts from its own defaults";
  EXPECT_FALSE(scheme_for(step, "l.0.up").activation);
  const auto activation = scheme_for(step, "l.1.down").activation;
  ASSERT_TRUE(activation);
  EXPECT_EQ(activation->i64("bits"), 6);
  EXPECT_EQ(activation->text("granularity"), "token");
}

TEST_F(PipelineFile, RecordsTheWholeScheme) {
  const auto pipeline =
      load(std::string(kModel) + "[[step]]\nuse = \"round\"\nweight = { format = \"fp8-e5m2\" }\n");
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  const auto recorded = parse_json(to_json(pipeline->effective), "");
  ASSERT_TRUE(recorded.ok());
  EXPECT_EQ(*scheme_from((*(*recorded)["step"].list())[0]["weight"]), pipeline->steps[0].weight);
}

TEST_F(PipelineFile, RefusesCalibrationTextThatIsNone) {
  write("empty.txt", "");
  const std::string text =
      std::string(kModel) + "[[step]]\nuse = \"round\"\n[calibration]\nsource = ";
  EXPECT_EQ(problems(text + "\"empty.txt\"\n", {}, 4),  // the data is at fault, not the file
            "./p.toml:6:10: \"source\" is \"./empty.txt\", which is empty; expected a file with "
            "text or token ids");
  EXPECT_EQ(problems(text + "\"model\"\n"),
            "./p.toml:6:10: \"source\" is \"./model\", which is a folder; expected a file with "
            "text or token ids");
}

TEST_F(PipelineFile, ChecksOverrides) {
  const std::string text = std::string(kModel) + "[[step]]\nuse = \"round\"\n[[step.override]]\n";
  EXPECT_EQ(problems(text + "match = \"*\"\n"),
            "./p.toml:5:1: an override of step \"round\" changes nothing; expected `weight`, "
            "`activation` or keep = true");
  EXPECT_EQ(problems(text + "match = \"*\"\nkeep = true\nweight = { bits = 4 }\n"),
            "./p.toml:5:1: an override of step \"round\" says keep = true and gives a scheme; one "
            "of them must go");
  EXPECT_EQ(problems(text + "keep = true\n"),
            "./p.toml:5:1: an override of step \"round\" lacks \"match\", a string: Glob over "
            "linear names, for example "
            "\"*.down_proj\".");
  EXPECT_EQ(problems(text + "match = \"*\"\nweight = { bits = 12 }\n"),
            "./p.toml:7:12: \"bits\" is 12; expected an integer, 2 to 8");
  EXPECT_EQ(problems(text + "match = \"*\"\nkeep = true\ndamping = 1\n"),
            "./p.toml:8:1: \"damping\" is no key of an override of step \"round\"; known are "
            "activation, keep, match, weight");
}

TEST_F(PipelineFile, OverridesMayBuildOnOneAnother) {
  const std::string text = std::string(kModel) + "[[step]]\nuse = \"round\"\n[[step.override]]\n" +
                           "match = \"*_proj\"\nweight = { format = \"nvfp4\" }\n" +
                           "[[step.override]]\nmatch = \"*.down_proj\"\n";
  const auto pipeline = load(text + "weight = { decoded = \"fp32\" }\n");
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  const Step& step = pipeline->steps[0];
  EXPECT_EQ(resolve_scheme(step, "mlp.down_proj")->weight.text("decoded"), "fp32");
  EXPECT_FALSE(resolve_scheme(step, "x.down_proj")->weight.has("bits"));
  EXPECT_EQ(possible_schemes(step, "weight").size(), 3u);
  EXPECT_THAT(problems(text + "weight = { decode = \"fp32\" }\n"),
              testing::HasSubstr("\"decode\" is no key"));
}

TEST_F(PipelineFile, WantsUniqueNamesWithinAKind) {
  EXPECT_EQ(
      problems(std::string(kModel) + "[[step]]\nuse = \"round\"\n[[step]]\nuse = \"round\"\n"),
      "./p.toml:5:1: two entries of [[step]] are called \"round\"; give this one another `name`");
}

TEST_F(PipelineFile, KeepsExportsApart) {
  const std::string text = std::string(kModel) + "[[export]]\nuse = \"writer\"\npath = \"" +
                           path("model") +
                           "/\"\n[[export]]\nuse = \"writer\"\nname = \"b\"\npath = "
                           "\"x\"\n[[export]]\nuse = \"writer\"\nname = \"c\"\npath "
                           "= \"y/../x\"\n";
  EXPECT_THAT(
      problems(text),
      testing::MatchesRegex("./p.toml:5:8: export \"writer\" is to be \"./model\", the same folder "
                            "as the model itself; nothing would be left of one of them\n"
                            "./p.toml:13:8: export \"c\" is to be \".*/x\", the same folder as "
                            "export \"b\"; nothing would be left of one of them"));
}

TEST_F(PipelineFile, RefusesPlacesWhereSomethingWouldBeLost) {
  const auto told = [&](const std::string& path, const std::string& run) {
    return problems(std::string(kModel) + "[[export]]\nuse = \"writer\"\npath = \"" + path +
                    "\"\n" + run);
  };
  for (const auto& [place, why] : {std::pair("", "names no folder"),
                                   {".", "was called in"},
                                   {"/", "root of all"},
                                   {"~/out", "shell's shorthand"},
                                   {"model/out", "lies in the model"}})
    EXPECT_THAT(told(std::string(place) == "model/out" ? path("model/out") : place, ""),
                testing::HasSubstr(why))
        << place;
  EXPECT_THAT(told(std::string(300, 'n'), ""), testing::HasSubstr("a name of 300 bytes"));
  EXPECT_THAT(told("x", "[run]\nwork = \"x/work\"\n"), testing::HasSubstr("is to hold the work"));
  EXPECT_THAT(told("x", "[run]\nwork = \"\"\n"), testing::HasSubstr("names no folder"));
  EXPECT_THAT(told("x", "[run]\nwork = \"" + path("model") + "\"\n"),
              testing::HasSubstr("as the model itself"));
}

TEST_F(PipelineFile, TakesOnlyFileNamesAsNames) {
  for (const char* name : {"../../precious", "/tmp/x", "..", "", "a\\u0007b"}) {
    EXPECT_THAT(problems(std::string(kModel) +
                         "[[export]]\nuse = \"writer\"\npath = \"x\"\nname = \"" + name + "\"\n"),
                testing::HasSubstr("\"name\" "))
        << name;
  }
}

TEST_F(PipelineFile, RefusesAnUnknownDevice) {
  EXPECT_EQ(problems(std::string(kModel) + "[[step]]\nuse = \"round\"\n[run]\ndevice = \"gpu\"\n"),
            "./p.toml:6:10: \"device\" is \"gpu\"; expected \"cpu\"");
  EXPECT_EQ(problems(std::string(kModel) + "[[step]]\nuse = \"round\"\n[run]\ndevice = \"cuda\"\n"),
            "./p.toml:6:10: \"device\" is \"cuda\", but this version computes on the CPU alone; "
            "expected \"cpu\"");
}

TEST_F(PipelineFile, NamesAnUnknownComponent) {
  EXPECT_THAT(problems(std::string(kModel) + "[[step]]\nuse = \"rond\"\n"),
              testing::StartsWith("./p.toml:4:7: "));
  EXPECT_EQ(problems(std::string(kModel) + "[[step]]\nuse = \"fp8-e4m3\"\n"),
            "./p.toml:4:7: there is no algorithm \"fp8-e4m3\"; it is a number format: write use = "
            "\"rtn\", or another algorithm, with weight = { format = \"fp8-e4m3\" }");
}

// Wherever they stand.
TEST_F(PipelineFile, AnswersKeysOfOtherProgramsWithItsOwn) {
  const std::string model = kModel;
  const std::string places[] = {
      "@" + model,
      model + "[scheme]\n@",
      model + "[scheme.weight]\n@",
      model + "[scheme.activation]\n@",
      model + "[run]\n@",
      model + "[calibration]\nsource = \"text.txt\"\n@",
      model + "[[step]]\nuse = \"round\"\n@",
      model + "[[step]]\nuse = \"round\"\n[step.weight]\n@",
      model + "[[step]]\nuse = \"round\"\n[[step.override]]\nmatch = \"*\"\nkeep = true\n@",
      model + "[[evaluate]]\nuse = \"score\"\nsource = \"text.txt\"\n@",
      model + "[[export]]\nuse = \"writer\"\npath = \"x\"\n@"};
  for (const auto& [key, ours] : {std::pair("group_size", "group"),
                                  {"num_samples", "samples"},
                                  {"max_seq_length", "length"},
                                  {"damp_percent", "damping"},
                                  {"actorder", "order"},
                                  {"sym", "symmetric"},
                                  {"ignore", "keep"}}) {
    for (std::string text : places) {
      text.replace(text.find('@'), 1, std::string(key) + " = 1\n");
      const std::string told = problems(text);
      EXPECT_THAT(told, testing::HasSubstr("\"" + std::string(key) + "\" is no "));
      EXPECT_THAT(told, testing::ContainsRegex("(here it is called|write [^\n]*)" +
                                               std::string(".*") + ours))
          << text;
    }
  }
}

TEST_F(PipelineFile, SaysWhereAKeyOfItsOwnBelongs) {
  const std::string model = kModel;
  EXPECT_THAT(
      problems(model + "[scheme]\nbits = 4\n[[step]]\nuse = \"round\"\n"),
      testing::HasSubstr("\"bits\" is no key of [scheme]; it is a key of weight = { … } and "
                         "of activation = { … }"));
  EXPECT_THAT(problems("samples = 4\n" + model),
              testing::HasSubstr("is no section of a pipeline file; it is a key of [calibration]"));
  EXPECT_THAT(problems(model + "[[step]]\nuse = \"round\"\nthreads = 1\n"),
              testing::HasSubstr("\"threads\" is no key of step \"round\"; it is a key of [run]"));
}

TEST_F(PipelineFile, TellsEveryUnknownKeyOfAScheme) {
  EXPECT_EQ(problems(std::string(kModel) +
                     "[[step]]\nuse = \"round\"\nweight = { bit = 4, group = -1, zp = 1 }\n"),
            "./p.toml:5:12: \"bit\" is no key of weight = { format = \"int\" }; did you mean "
            "\"bits\"?\n"
            "./p.toml:5:21: \"group\" is -1; expected an integer, 1 to 1073741824; for one scale a "
            "row write granularity = \"channel\"\n"
            "./p.toml:5:33: \"zp\" is no key of weight = { format = \"int\" }; known are bits, "
            "block_columns, block_rows, convention, format, granularity, group, group_scale, "
            "group_tail, mse_norm, range, scale_dtype, share, symmetric, zero");
}

TEST_F(PipelineFile, KnowsRecipesOfOtherLanguages) {
  for (const auto& [text, language] :
       {std::pair("# a recipe\nquant_stage:\n  quant_modifiers:\n", "YAML"),
        {"---\na: 1\n", "YAML"},
        {"{\"bits\": 4}", "JSON"},
        {"from llmcompressor import oneshot\n", "Python"}})
    EXPECT_THAT(problems(text), testing::HasSubstr(std::string("it looks like ") + language));
  EXPECT_THAT(problems("[model\n"), testing::Not(testing::HasSubstr("looks like")));
}

TEST_F(PipelineFile, ResolvesPluginFoldersAgainstTheFile) {
  const auto source =
      read_pipeline(write("q.toml", "[plugins]\npath = [\"lib\"]\n"), {"model.path=x"});
  ASSERT_TRUE(source.ok());
  EXPECT_THAT(source->plugin_paths, ElementsAre(path("lib")));
}

}  // namespace
}  // namespace swage
