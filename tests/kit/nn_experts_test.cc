#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nn_support.h"

namespace swage::nn {
namespace {

using ::testing::ElementsAre;

// Tokens 0 … 6 of two sequences; the first four belong to the first.
Slots routed_slots() {
  Slots slots = sequences({4, 3});
  slots["x"] = at::arange(7, at::kDouble).unsqueeze(1);
  slots["choice"] = at::tensor({0, 1, 1, 2, 0, 2, 1, 0, 2, 1, 0, 1, 2, 0}, at::kLong).view({7, 2});
  const Route route{"choice", 2};
  slots.put_routed("y", slots.at("x").index_select(0, slots.rows_of(route)) * 10, route);
  return slots;
}

std::vector<double> values(const at::Tensor& x) {
  const at::Tensor flat = x.flatten().to(at::kDouble).contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

TEST(SlotsTest, RowsOfARouteAreTheTokensThatNameTheExpert) {
  const Slots slots = routed_slots();
  EXPECT_THAT(values(slots.rows_of({"choice", 2})), ElementsAre(1, 2, 4, 6));
  EXPECT_THAT(values(slots.rows_of({"choice", 9})), ElementsAre());
  EXPECT_EQ(slots.rows_of({}).size(0), 7);
}

TEST(SlotsTest, PrefixesAndConcatenationsKeepRoutedSlotsWithTheirTokens) {
  const Slots slots = routed_slots();
  const Slots part = slots.prefix(2);  // tokens 0, 1 and 4, 5
  EXPECT_THAT(values(part.at("x")), ElementsAre(0, 1, 4, 5));
  EXPECT_THAT(values(part.at("y")), ElementsAre(10, 40));
  const Slots twice = Slots::concatenate({part, part});
  EXPECT_THAT(twice.lengths, ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(values(twice.at("y")), ElementsAre(10, 40, 10, 40));
  EXPECT_EQ(twice.rows_of({"choice", 2}).size(0), twice.at("y").size(0));
  EXPECT_TRUE(twice.is_routed("y"));
  EXPECT_FALSE(twice.is_routed("x"));
}

DecoderDescription mixture() {
  DecoderDescription d = small_decoder();
  Experts experts;
  experts.count = 5;
  experts.active = 2;
  experts.intermediate_size = 9;
  experts.shared_size = 7;
  experts.names.shared_gate = "mlp.shared_expert_gate";
  d.experts = std::make_shared<const Experts>(experts);
  return d;
}

MemorySource mixture_weights(const DecoderDescription& d) {
  MemorySource source = random_weights(d);
  const Experts& e = *d.experts;
  const auto put = [&](const std::string& name, int64_t out, int64_t in) {
    source.tensors[d.names.blocks + ".0." + name + ".weight"] =
        at::randn({out, in}, at::kDouble) * 0.3;
  };
  put(e.names.router, e.count, d.hidden_size);
  put(e.names.shared_gate, 1, d.hidden_size);
  for (int64_t i = -1; i < e.count; ++i) {
    const std::string name = i < 0 ? e.names.shared : absl::StrCat(e.names.experts, ".", i);
    const int64_t width = i < 0 ? e.shared_size : e.intermediate_size;
    put(name + ".gate_proj", width, d.hidden_size);
    put(name + ".up_proj", width, d.hidden_size);
    put(name + ".down_proj", d.hidden_size, width);
  }
  return source;
}

at::Tensor forward(Block& block, const at::Tensor& hidden, int64_t experts_seen) {
  Slots slots = sequences({hidden.size(0)});
  slots.experts_seen = experts_seen;
  slots[kHidden] = hidden;
  block.forward(slots);
  EXPECT_EQ(slots.tensors().size(), 1u) << "only the hidden state is left";
  return slots.take(kHidden);
}

TEST(ExpertsTest, OutputsStayRoutedWhateverTheExpertsSee) {
  const DecoderDescription d = mixture();
  const auto block = make_block(d, mixture_weights(d), at::kDouble);
  const at::Tensor hidden = at::randn({11, d.hidden_size}, at::kDouble);
  const at::Tensor routed = forward(*block, hidden, 0);
  for (int64_t seen : {1, 2, 3, 5, 9, -1})
    EXPECT_TRUE(forward(*block, hidden, seen).allclose(routed, 1e-12, 1e-12)) << seen;
}

TEST(ExpertsTest, PartsCoverTheInputAndSeeAsManyTokensAsAskedFor) {
  const DecoderDescription d = mixture();
  const auto block = make_block(d, mixture_weights(d), at::kDouble);
  for (const auto& [seen, expected] : {std::pair(0, 22), std::pair(4, 44), std::pair(-1, 55)}) {
    Slots slots = sequences({11});
    slots.experts_seen = seen;
    slots[kHidden] = at::randn({11, d.hidden_size}, at::kDouble);
    for (int64_t stage = 0; stage <= 2; ++stage) block->run_stage(stage, slots);
    const Subset& input = block->subsets()[2];
    EXPECT_EQ(input.name, "mlp.input");
    EXPECT_EQ(input.readers.size(), 2u) << "router and gate of the shared expert";
    size_t linears = 0;
    int64_t tokens = 0;
    for (const Subset& part : input.parts) {
      linears += part.linears.size();
      if (!part.route.empty()) tokens += slots.rows_of(part.route).size(0);
    }
    EXPECT_EQ(linears, input.linears.size());
    EXPECT_EQ(tokens, expected);
  }
}

TEST(ExpertsTest, BytesDoNotDependOnTheMicroBatch) {
  const DecoderDescription d = mixture();
  const auto block = make_block(d, mixture_weights(d), at::kFloat);
  const at::Tensor hidden = at::randn({60, d.hidden_size}, at::kFloat);
  Slots slots = sequences({30, 30});
  slots[kHidden] = hidden;
  block->forward(slots);
  const at::Tensor whole = slots.take(kHidden);
  EXPECT_TRUE(forward(*block, hidden.slice(0, 30, 60), 0).equal(whole.slice(0, 30, 60)));
}

}  // namespace
}  // namespace swage::nn
