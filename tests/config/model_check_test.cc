#include "core/config/model_check.h"

#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "core/base/exit_codes.h"
#include "tests/config/test_catalog.h"

namespace swage {
namespace {

using testing_support::FolderTest;
using testing_support::small_catalog;

io::Header tiny_header() {
  io::Header header;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    header[name].shape = std::move(shape);
  };
  add("model.embed.weight", {100, 48});
  add("model.norm.weight", {48});
  for (const char* layer : {"model.layers.0", "model.layers.1"}) {
    add(std::string(layer) + ".up.weight", {96, 48});
    add(std::string(layer) + ".down.weight", {48, 96});
    add(std::string(layer) + ".down.bias", {48});
    add(std::string(layer) + ".rotary.inv_freq", {8});
  }
  return header;
}

const ComponentManifest& tiny_adapter() {
  static const Catalog catalog = small_catalog();
  return *catalog
              .find_model(Value(Value::Table{{"architectures", Value::List{"TinyForCausalLM"}}}))
              ->component;
}

class ModelCheck : public FolderTest {
 protected:
  std::string problems(const std::string& step) {
    const auto pipeline = load_pipeline(
        write("p.toml",
              "[model]\npath = \"model\"\n[calibration]\nsource = \"text.txt\"\n[[step]]\n" + step),
        {}, small_catalog());
    EXPECT_TRUE(pipeline.ok()) << pipeline.status();
    const absl::Status status =
        check_steps(*pipeline, outline_model(tiny_header(), tiny_adapter()));
    EXPECT_EQ(exit_code(status), status.ok() ? 0 : 3);
    return absl::StrReplaceAll(std::string(status.message()), {{folder_.string(), "."}});
  }
};

TEST_F(ModelCheck, OutlinesTheLinearsOfACheckpoint) {
  const ModelOutline outline = outline_model(tiny_header(), tiny_adapter());
  ASSERT_EQ(outline.linears.size(), 4u);
  EXPECT_EQ(outline.linears[0].name, "model.layers.0.down");
  EXPECT_EQ(outline.linears[0].in, 96);
  EXPECT_EQ(outline.linears[0].out, 48);
  EXPECT_EQ(outline.parameters, 100 * 48 + 48 + 2 * (2 * 96 * 48 + 48))
      << "rotary buffers are dropped";
}

TEST_F(ModelCheck, RoutersAreLinearsThatStayInFloats) {
  ComponentManifest adapter = tiny_adapter();
  adapter.routers = {"model.layers.*.gate"};
  io::Header header = tiny_header();
  header["model.layers.0.gate.weight"].shape = {4, 48};
  const ModelOutline outline = outline_model(header, adapter);
  ASSERT_EQ(outline.linears.size(), 5u);
  EXPECT_EQ(outline.linears[1].name, "model.layers.0.gate");
  EXPECT_EQ(outline.linears[1].kept_by, "a router keeps its precision");
  EXPECT_EQ(outline.linears[0].kept_by, "");
}

TEST_F(ModelCheck, RefusesGlobsThatFitNothing) {
  EXPECT_EQ(problems("use = \"round\"\nmatch = [\"*.up\", \"*.gate\"]\nweight = { group = 16 "
                     "}\n[[step.override]]\nmatch = "
                     "\"*.down\"\nkeep = true\n"),
            "./p.toml:5:1: step \"round\": match \"*.gate\" fits no linear; they are called, for "
            "example, \"model.layers.1.up\"\n"
            "./p.toml:9:1: step \"round\": override.match \"*.down\" fits no linear; they are "
            "called, for example, "
            "\"model.layers.1.up\"");
}

TEST_F(ModelCheck, RefusesOverridesThatDoNotGoTogether) {
  EXPECT_EQ(problems("use = \"round\"\nweight = { granularity = \"channel\" "
                     "}\n[[step.override]]\nmatch = \"*.up\"\nweight = { "
                     "symmetric = false }\n[[step.override]]\nmatch = \"*.0.up\"\nweight = { "
                     "convention = \"full-range\" }\n"),
            "./p.toml:11:1: for model.layers.0.up: convention = \"full-range\" needs symmetric = "
            "true, found false");
}

}  // namespace
}  // namespace swage
