// Every algorithm that quantizes with every number format, every format in every exporter: what
// comes out stands in docs/compatibility-formats.md.
#include <gtest/gtest.h>

#include "block_run.h"
#include "core/config/formats.h"
#include "export_support.h"
#include "tests/kit/nn_support.h"

namespace swage {
namespace {

using namespace testing_support;

constexpr char kHead[] =
    "# Algorithms, formats and exporters\n\n"
    "Written by a test that runs every algorithm that quantizes on one linear with every number "
    "format under its\ndefaults. None gives larger errors of the outputs than rounding to nearest, "
    "GPTQ always smaller ones. `rounds`: the\nformat has no range limits that could be learned. "
    "`codes`: the export holds the result itself; `values`: the weights\nthat it decodes to. "
    "`bits`: of a weight of a 64 x 256 matrix, levels included.\n\n";
const char* const kAlgorithms[] = {"rtn", "gptq", "awq", "omniquant"};
const char* const kExporters[] = {"compressed-tensors", "huggingface"};

// All keys of a component with their defaults.
Params defaults(const char* kind, const std::string& name) {
  Value::Table values;
  for (const ParamManifest& param : must(built_plugins().find(kind, name)).component->params)
    values[param.name] = param.default_value;
  values.insert_or_assign("epochs", 2);
  return Params(values);
}

std::shared_ptr<const Codec> codec_of(const std::string& format) {
  std::vector<SchemeProblem> problems;
  const Scheme scheme = read_scheme(Formats(built_plugins()), "weight",
                                    Value(Value::Table{{"format", format}}), {}, &problems);
  EXPECT_TRUE(problems.empty()) << format << ": " << problems.front().text;
  return must(make_codec(scheme));
}

// A weight with outliers, inputs that are correlated: 64 x 256 columns, which every format cuts.
struct Problem {
  at::Tensor weight, input;
  Problem() {
    at::manual_seed(7);
    weight = at::randn({64, 256}) * (at::rand({1, 256}) + 0.5);
    input = at::randn({512, 64}).mm(at::randn({64, 256})) + at::randn({512, 256});
  }
  double error(const at::Tensor& other) const {
    return (input.mm((other - weight).t())).square().mean().item<double>();
  }
};

// The error of the outputs beside that of rounding to nearest, both on the fixed problem.
double share_of_rounding(const char* algorithm, const std::shared_ptr<const Codec>& codec) {
  const Problem problem;
  OneLinearBlock block(problem.weight);
  Target target;
  target.codec = codec;
  target.request.scale_dtype = at::kBFloat16;
  Slots batch = nn::sequences({256, 256});
  batch[kHidden] = problem.input;
  const auto made = must(loader().algorithm(algorithm, defaults("algorithm", algorithm)));
  BlockRun run(block, target, batch, made->needs());
  const absl::Status status = made->block_transform(run);
  EXPECT_TRUE(status.ok()) << algorithm << " " << codec->describe() << ": " << status;
  if (!status.ok() || !block.linear().result()) return 1e9;
  EXPECT_TRUE(validate(*block.linear().result()).ok());
  at::Tensor weight = decode(*block.linear().result());
  if (run.folded[0].defined()) weight = weight / run.folded[0].to(weight.scalar_type());
  Linear plain;
  plain.weight = problem.weight;
  const double rounded = problem.error(decode(must(quant::quantize(plain, target))));
  return problem.error(weight) / rounded;
}

std::string exported(const char* name, const std::shared_ptr<const Codec>& codec) {
  const Result linear = quantized("model.layers.0.mlp.up_proj", 64, 256, codec);
  Export run(name, defaults("exporter", name).values());
  const absl::Status status = run.exporter().check({summary(linear)});
  if (!status.ok()) return "";
  run.add(linear);
  run.finish();
  const Result back = must(run.decode(linear.name()));
  EXPECT_TRUE(at::equal(decode(back), decode(linear))) << name << " " << codec->describe();
  return digest(back) == digest(linear) ? "codes" : "values";
}

std::string table() {
  std::string text =
      "| format | bits | rtn | gptq | awq | omniquant | compressed-tensors | huggingface |\n"
      "|---|---|---|---|---|---|---|---|\n";
  for (const Catalog::Found& found : built_plugins().components("format")) {
    const std::string& name = found.component->name;
    const auto codec = codec_of(name);
    const double bits =
        codec->code_bits() + codec->planned_level_bits(64, 256, at::kBFloat16) / (64. * 256);
    absl::StrAppend(&text, absl::StrFormat("| `%s` | %.3g |", name, bits));
    for (const char* algorithm : kAlgorithms) {
      const double share = share_of_rounding(algorithm, codec);
      // No method makes of any format something worse than rounding; GPTQ always gains.
      EXPECT_LT(share, algorithm == std::string("gptq") ? 0.99 : 1.02) << algorithm << " " << name;
      const bool limits = codec->takes_limits();
      const bool learns = algorithm == std::string("omniquant");
      absl::StrAppend(&text, learns && !limits ? " rounds |" : " yes |");
    }
    for (const char* exporter : kExporters) {
      const std::string how = exported(exporter, codec);
      absl::StrAppend(&text, " ", how.empty() ? "refused" : how, " |");
    }
    text += "\n";
  }
  return text;
}

TEST(FormatMatrix, IsWhatTheDocsSay) {
  const std::filesystem::path page = test_data() / "../../docs/compatibility-formats.md";
  const std::string made = kHead + table();
  if (std::getenv("SWAGE_WRITE_DOCS") != nullptr) std::ofstream(page) << made;
  std::stringstream content;
  content << std::ifstream(page).rdbuf();
  EXPECT_EQ(content.str(), made)
      << "write the page anew: SWAGE_WRITE_DOCS=1 plugin_tests --gtest_filter=FormatMatrix*";
}

}  // namespace
}  // namespace swage
