#include "core/config/model_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/config/test_catalog.h"

namespace swage {
namespace {

using testing::ElementsAre;

io::Header two_layers() {
  io::Header header;
  int64_t at = 0;
  const auto add = [&](const std::string& name, io::StoredType type, std::vector<int64_t> shape) {
    int64_t bytes = io::byte_size(type);
    for (int64_t size : shape) bytes *= size;
    header[name] = {type, std::move(shape), at, at + bytes};
    at += bytes;
  };
  add("model.embed.weight", io::StoredType::kBF16, {100, 192});
  add("model.norm.weight", io::StoredType::kF32, {192});
  for (const std::string layer : {"model.layers.0", "model.layers.1"}) {
    add(layer + ".up.weight", io::StoredType::kBF16, {4, 256, 192});  // four experts
    add(layer + ".down.weight", io::StoredType::kBF16, {192, 256});
    add(layer + ".down.bias", io::StoredType::kBF16, {192});
    add(layer + ".rotary.inv_freq", io::StoredType::kF32, {8});
  }
  return header;
}

ModelSummary summary_of(const io::Header& header) {
  static const Catalog catalog = testing_support::small_catalog();
  return summarize(header, *catalog.find("model", "tiny")->component);
}

TEST(ModelSummary, CountsTensors) {
  const ModelSummary model = summary_of(two_layers());
  EXPECT_EQ(model.types.at("BF16").tensors, 7);
  EXPECT_EQ(model.types.at("F32").elements, 192 + 2 * 8);
  EXPECT_EQ(model.types.at("F32").bytes, (192 + 2 * 8) * 4);
  EXPECT_EQ(model.parameters, 100 * 192 + 192 + 2 * (4 * 256 * 192 + 192 * 256 + 192));
  EXPECT_EQ(model.kept_bytes, 100 * 192 * 2 + 192 * 4 + 2 * 192 * 2);
  ASSERT_EQ(model.linears.size(), 4u);
  EXPECT_EQ(model.linears[1].name, "model.layers.0.up");
  EXPECT_EQ(model.linears[1].rows, 4 * 256);
  EXPECT_EQ(model.linears[1].in, 192);
}

TEST(ModelSummary, CountsNoTensorThatNoRuleNames) {
  io::Header header = two_layers();
  header["model.extra.weight"] = {io::StoredType::kF16, {3, 3}, 0, 18};
  const ModelSummary model = summary_of(header);
  EXPECT_EQ(model.parameters, summary_of(two_layers()).parameters);
}

TEST(ModelSummary, FindsTheNumberInTheNamesOfABlock) {
  EXPECT_EQ(numbered_prefix({"model.layers.0.experts.0.up", "model.layers.0.norm"}, 0),
            "model.layers.");
  EXPECT_EQ(numbered_prefix({"h.3.up", "h.3.norm"}, 3), "h.");
  EXPECT_EQ(numbered_prefix({"h.3.up", "h.30.norm"}, 3), "");
  EXPECT_EQ(numbered_prefix({"first.up"}, 0), "");
  EXPECT_EQ(numbered_prefix({}, 0), "");
}

TEST(ModelSummary, TellsBlocksApart) {
  io::Header header;
  for (int i = 0; i < 12; ++i) {
    io::TensorInfo& info = header["h." + std::to_string(i) + ".up"];
    info.shape = {i == 3 ? 8 : 4, 4};
    info.type = i == 5 ? io::StoredType::kBF16 : io::StoredType::kF32;
  }
  header["h.11.bias"].shape = {4};
  EXPECT_THAT(alike_blocks(header, "h.", 12),
              ElementsAre(ElementsAre(0, 1, 2, 4, 6, 7, 8, 9, 10), ElementsAre(3), ElementsAre(5),
                          ElementsAre(11)));
  EXPECT_THAT(alike_blocks(header, "", 3), ElementsAre(ElementsAre(0, 1, 2)));
}

TEST(ModelSummary, WritesRanges) {
  EXPECT_EQ(ranges_text({0, 1, 2, 4, 6, 7}), "0 to 2, 4, 6 to 7");
  EXPECT_EQ(ranges_text({5}), "5");
  EXPECT_EQ(ranges_text({}), "");
}

}  // namespace
}  // namespace swage
