#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "export_support.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::HasSubstr;

const Value::Table kParams = {{"shard_size", 5000}};

TEST(CompressedTensors, TakesOneSchemeForTheExpertsOfALayer) {
  Export run("compressed-tensors", kParams);
  std::vector<LinearSummary> planned(3);
  for (int i = 0; i < 3; ++i) {
    planned[i].name =
        "model.layers." + std::to_string(i / 2) + ".mlp.experts." + std::to_string(i) + ".up_proj";
    planned[i].out = planned[i].in = 64;
    planned[i].weight = scheme(R"({"bits": 4, "group": 32})");
  }
  EXPECT_TRUE(run.exporter().check(planned).ok());
  planned[2].weight = scheme(R"({"bits": 8, "group": 32})");
  EXPECT_TRUE(run.exporter().check(planned).ok()) << "another layer";
  planned[1].weight = planned[2].weight;
  EXPECT_THAT(std::string(run.exporter().check(planned).message()),
              HasSubstr("one scheme for the experts of a layer"));
}

}  // namespace
}  // namespace swage
