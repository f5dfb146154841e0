#include <ATen/ops/linear.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nn_support.h"

namespace swage::nn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

at::Tensor forward(Block& block, const at::Tensor& hidden, const std::vector<int64_t>& lengths) {
  Slots slots = sequences(lengths);
  slots[kHidden] = hidden;
  block.forward(slots);
  return slots.take(kHidden);
}

TEST(DecoderBlockTest, StagesLeaveTheInputOfEachSubsetAndDropWhatNobodyReads) {
  const DecoderDescription d = small_decoder();
  const auto block = make_block(d, random_weights(d), at::kDouble);
  EXPECT_EQ(block->stage_count(), 5);
  const at::Tensor hidden = at::randn({7, d.hidden_size}, at::kDouble);
  const at::Tensor before = hidden.clone();
  Slots slots = sequences({3, 4});
  slots[kHidden] = hidden;
  std::vector<std::vector<std::string>> seen;
  for (int64_t stage = 0; stage < 5; ++stage) {
    block->run_stage(stage, slots);
    std::vector<std::string> names;
    for (const auto& [name, tensor] : slots.tensors()) names.push_back(name);
    seen.push_back(names);
    if (stage < 4) {
      const Subset& subset = block->subsets()[static_cast<size_t>(stage)];
      EXPECT_EQ(slots.at(subset.input).size(1), subset.linears.front()->in());
    }
  }
  using Names = std::vector<std::string>;
  EXPECT_THAT(seen, ElementsAre(Names{"attention.input", "hidden"},
                                Names{"attention.output", "hidden"}, Names{"hidden", "mlp.input"},
                                Names{"hidden", "mlp.output"}, Names{"hidden"}));
  EXPECT_TRUE(hidden.equal(before)) << "the caller's hidden state must stay as it was";
}

TEST(DecoderBlockTest, InspectGivesTheSubModuleWithoutTheResidual) {
  const DecoderDescription d = small_decoder();
  const auto block = make_block(d, random_weights(d), at::kDouble);
  const at::Tensor hidden = at::randn({7, d.hidden_size}, at::kDouble);
  Slots slots = sequences({3, 4});
  slots[kHidden] = hidden;
  block->run_stage(0, slots);
  const at::Tensor attention = block->inspect(0, slots);
  EXPECT_TRUE(slots.has("attention.input"));
  block->run_stage(1, slots);
  EXPECT_TRUE(block->inspect(1, slots).allclose(attention));
  block->run_stage(2, slots);
  EXPECT_TRUE((hidden + attention).allclose(slots.at(kHidden)));
  const at::Tensor middle = slots.at(kHidden);
  const at::Tensor mlp = block->inspect(2, slots);
  block->run_stage(3, slots);
  EXPECT_TRUE(block->inspect(3, slots).allclose(mlp));
  block->run_stage(4, slots);
  EXPECT_TRUE((middle + mlp).allclose(slots.at(kHidden)));
  std::vector<bool> modules;
  for (const Subset& subset : block->subsets()) modules.push_back(subset.inspect_module);
  EXPECT_THAT(modules, ElementsAre(true, false, true, false));
}

TEST(DecoderBlockTest, BytesDoNotDependOnTheMicroBatchOrTheThreads) {
  DecoderDescription d = small_decoder();
  for (int64_t window : {0, 9}) {
    d.window = window;
    const auto block = make_block(d, random_weights(d), at::kFloat);
    const std::vector<int64_t> lengths = {30, 30, 7, 1, 30, 600};
    const at::Tensor hidden = at::randn({698, d.hidden_size}, at::kFloat);
    at::set_num_threads(1);
    const at::Tensor whole = forward(*block, hidden, lengths);
    at::set_num_threads(2);
    EXPECT_TRUE(forward(*block, hidden, lengths).equal(whole));
    int64_t first = 0;
    for (int64_t length : lengths) {
      const at::Tensor alone = forward(*block, hidden.slice(0, first, first + length), {length});
      EXPECT_TRUE(alone.equal(whole.slice(0, first, first + length))) << "sequence at " << first;
      first += length;
    }
    EXPECT_TRUE(forward(*block, hidden.slice(0, 0, 60), {30, 30}).equal(whole.slice(0, 0, 60)));
  }
}

// Central differences in fp64 for weights, norms and the input.
TEST(DecoderBlockTest, ForwardIsDifferentiable) {
  DecoderDescription d = small_decoder();
  for (const auto& [window, gated, norm] :
       {std::tuple(0, true, NormKind::kRms), std::tuple(2, true, NormKind::kRmsOffset),
        std::tuple(0, false, NormKind::kLayer)}) {
    d.window = window;
    d.gated = gated;
    d.norm = norm;
    const auto block = make_block(d, random_weights(d), at::kDouble);
    at::Tensor hidden = at::randn({9, d.hidden_size}, at::kDouble);
    const at::Tensor probe = at::randn({9, d.hidden_size}, at::kDouble);
    const auto loss = [&] { return (forward(*block, hidden, {5, 4}) * probe).sum(); };
    std::vector<at::Tensor*> leaves = {&hidden};
    for (Linear& linear : block->linears())
      leaves.insert(leaves.end(), {&linear.weight, &linear.bias});
    for (Parameter& parameter : block->parameters()) leaves.push_back(&parameter.value);
    for (at::Tensor* leaf : leaves) leaf->requires_grad_();
    loss().backward();
    for (at::Tensor* leaf : leaves) {
      const at::Tensor gradient = leaf->grad().clone();
      leaf->requires_grad_(false);
      const at::Tensor direction = at::randn_like(*leaf);
      const at::Tensor value = leaf->clone();
      constexpr double kStep = 1e-6;
      *leaf = value + direction * kStep;
      const double above = loss().item<double>();
      *leaf = value - direction * kStep;
      const double below = loss().item<double>();
      *leaf = value;
      const double expected = (gradient * direction).sum().item<double>();
      EXPECT_NEAR((above - below) / (2 * kStep), expected, 1e-6 * (1 + std::abs(expected)));
    }
  }
}

// What a fold does, written out: the op in front divided, the readers' columns multiplied.
void fold(Subset& subset, const at::Tensor& scale) {
  FoldTarget& target = subset.fold;
  if (target.kind == FoldTarget::Kind::kNorm) {
    const double offset = target.norm_offset ? 1.0 : 0.0;
    target.norm_weight->value = (target.norm_weight->value + offset) / scale - offset;
    if (target.norm_bias != nullptr) target.norm_bias->value = target.norm_bias->value / scale;
  } else {
    at::Tensor rows = at::ones({target.linear->out()}, scale.options());
    rows.index_copy_(0, target.row_of_channel, scale);
    target.linear->weight = target.linear->weight / rows.unsqueeze(1);
    target.linear->bias = target.linear->bias / rows;
  }
  for (Linear* linear : subset.linears) linear->weight = linear->weight * scale;
}

TEST(DecoderBlockTest, FoldTargetsKeepTheFunction) {
  for (NormKind norm : {NormKind::kRms, NormKind::kRmsOffset, NormKind::kLayer}) {
    DecoderDescription d = small_decoder();
    d.norm = norm;
    const MemorySource source = random_weights(d);
    const at::Tensor hidden = at::randn({9, d.hidden_size}, at::kDouble);
    const at::Tensor expected = forward(*make_block(d, source, at::kDouble), hidden, {5, 4});
    for (size_t i = 0; i < 4; ++i) {
      const auto block = make_block(d, source, at::kDouble);
      Subset& subset = block->subsets()[i];
      at::Tensor scale = at::randn({subset.linears.front()->in()}, at::kDouble).exp();
      if (subset.fold.kind == FoldTarget::Kind::kLinearRows) {
        // Channels that read one row share its scale (grouped heads).
        const at::Tensor of_row = at::randn({subset.fold.linear->out()}, at::kDouble).exp();
        scale = of_row.index_select(0, subset.fold.row_of_channel);
      }
      fold(subset, scale);
      const double worst = (forward(*block, hidden, {5, 4}) - expected).abs().max().item<double>();
      EXPECT_LT(worst, 1e-10 * expected.abs().max().item<double>()) << subset.name;
    }
  }
}

TEST(DecoderBlockTest, AnUngatedMlpSaysWhyItHasNoFoldTarget) {
  DecoderDescription d = small_decoder();
  d.gated = false;
  d.activation = Activation::kGelu;
  const auto block = make_block(d, random_weights(d), at::kDouble);
  EXPECT_EQ(block->linears().size(), 6u);
  const FoldTarget& target = block->subsets()[3].fold;
  EXPECT_EQ(target.kind, FoldTarget::Kind::kNone);
  EXPECT_EQ(
      target.why_none,
      "an activation stands between model.layers.0.mlp.up_proj and model.layers.0.mlp.down_proj");
}

TEST(DecoderEmbeddingTest, GathersScaledRowsAndRefusesForeignIds) {
  DecoderDescription d = small_decoder();
  d.embedding_scale = 3.0;
  const MemorySource source = random_weights(d, at::kBFloat16);
  auto embedding = load_decoder_embedding(d, source, {});
  ASSERT_TRUE(embedding.ok());
  const Parameter& table = (*embedding)->parameters().front();
  EXPECT_EQ(table.value.scalar_type(), at::kBFloat16) << "the table keeps its storage dtype";
  Slots slots = sequences({3});
  at::Tensor ids = at::arange(47, 50, at::kLong);
  const auto embed = [&](const at::Tensor& which) {
    slots[kIds] = which;
    return std::string((*embedding)->embed(slots).message());
  };
  ASSERT_EQ(embed(ids), "");
  EXPECT_TRUE(slots.at(kHidden).equal(table.value.slice(0, 47).to(at::kFloat) * 3));
  EXPECT_THAT(embed(ids + 1), HasSubstr("token id 50 is outside the vocabulary of 50"));
  EXPECT_THAT(embed(ids - 48), HasSubstr("token id -1 is outside"));
}

TEST(DecoderHeadTest, TiedHeadUsesTheTableAndDoesNotListIt) {
  for (bool tied : {false, true}) {
    DecoderDescription d = small_decoder();
    d.tied_embeddings = tied;
    const MemorySource source = random_weights(d, at::kFloat);
    auto head = load_decoder_head(d, source, {});
    ASSERT_TRUE(head.ok());
    const at::Tensor x = at::randn({4, d.hidden_size}, at::kFloat);
    const std::string name = (tied ? d.names.embedding : d.names.head) + ".weight";
    EXPECT_TRUE((*head)->logits(x).equal(at::linear(x, source.tensors.at(name))));
    std::vector<std::string> names;
    for (const Parameter& parameter : (*head)->parameters()) names.push_back(parameter.name);
    EXPECT_EQ(names, tied ? std::vector<std::string>{"model.norm.weight"}
                          : (std::vector<std::string>{"model.norm.weight", "lm_head.weight"}));
  }
}

}  // namespace
}  // namespace swage::nn
