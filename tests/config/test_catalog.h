#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/catalog/catalog.h"

namespace swage::testing_support {

inline ParamManifest param(const std::string& name, const std::string& type,
                           Value default_value = {}) {
  ParamManifest result;
  result.name = name;
  result.type = type;
  result.default_value = std::move(default_value);
  result.help = "What " + name + " is for.";
  return result;
}

inline ComponentManifest component(const std::string& kind, const std::string& name,
                                   std::vector<ParamManifest> params = {}) {
  ComponentManifest result;
  result.kind = kind;
  result.name = name;
  result.interface = interface_of(kind);
  result.summary = "Does " + name + ".";
  result.params = std::move(params);
  return result;
}

// A catalog with one plugin: an algorithm that quantizes, one that calibrates, one that only
// transforms, an evaluator, an exporter and a model of two linears a layer.
inline Catalog small_catalog() {
  ComponentManifest round = component("algorithm", "round");
  round.schemes = {"weight", "activation"};
  ParamManifest damping = param("damping", "float", Value(0.01));
  damping.minimum = 0.0;
  damping.maximum = 1.0;
  ParamManifest order = param("order", "choice", Value("none"));
  order.choices = {"none", "activation"};
  ParamManifest hint = param("hint", "string");
  hint.optional = true;
  ComponentManifest sweep = component(
      "algorithm", "sweep",
      {damping, order, param("passes", "int", Value(1)), param("fast", "bool", Value(true)),
       param("names", "strings", Value(Value::List{})), hint});
  sweep.schemes = {"weight"};
  sweep.calibration = true;
  ComponentManifest smooth = component("algorithm", "smooth");
  ComponentManifest score = component("evaluator", "score", {param("source", "path")});
  ComponentManifest writer = component("exporter", "writer");
  ComponentManifest model = component("model", "tiny");
  model.architectures = {"TinyForCausalLM"};
  model.linears = {"model.layers.*.up", "model.layers.*.down"};
  model.kept = {"model.embed.weight", "*norm.weight"};
  model.ignored = {"*.rotary.inv_freq"};
  PluginEntry plugin;
  plugin.file = "small.swage.so";
  plugin.state = PluginState::kCompatible;
  plugin.manifest.id = "small";
  plugin.manifest.components = {round, sweep, smooth, score, writer, model};
  return Catalog::from({plugin});
}

// A folder of its own for each test, with a model folder and a text in it.
class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string(info->test_suite_name()) + "." + info->name());
    std::filesystem::create_directories(folder_ / "model");
    write("text.txt", "some text\n");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return path(name);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::filesystem::path folder_;
};

}  // namespace swage::testing_support
