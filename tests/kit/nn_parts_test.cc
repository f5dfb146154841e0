#include <ATen/ops/allclose.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nn_support.h"
#include "swage/nn/attention.h"

namespace swage::nn {
namespace {

using ::testing::HasSubstr;

double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// A tensor that asks for a gradient takes the differentiable path instead of the fused loop.
at::Tensor traced(const at::Tensor& x) { return x.clone().requires_grad_(); }

TEST(NormTest, FusedLoopAgreesWithTheFormula) {
  for (at::ScalarType type : {at::kFloat, at::kDouble}) {
    for (int64_t columns : {1, 7, 64, 575}) {
      const at::Tensor x = at::randn({5, columns}, type) * 3;
      Parameter weight{"w", at::randn({columns}, type), type};
      const at::Tensor x64 = x.to(at::kDouble), w64 = weight.value.to(at::kDouble);
      const at::Tensor unit = x64 / (x64.square().mean(-1, true) + 1e-5).sqrt();
      const double tolerance = type == at::kFloat ? 2e-6 : 1e-14;
      Norm norm{NormKind::kRms, 1e-5, &weight, nullptr};
      EXPECT_LT(worst(norm.apply(x), unit * w64), tolerance * 10);
      EXPECT_LT(worst(norm.apply(traced(x)), unit * w64), tolerance * 10);
      norm.kind = NormKind::kRmsOffset;
      EXPECT_LT(worst(norm.apply(x), unit * (w64 + 1)), tolerance * 10);
      EXPECT_LT(worst(norm.apply(traced(x)), unit * (w64 + 1)), tolerance * 10);
    }
  }
}

TEST(NormTest, LayerNormTakesBiasedVarianceAndItsBias) {
  const at::Tensor x = at::randn({3, 10}, at::kDouble);
  Parameter weight{"w", at::randn({10}, at::kDouble)}, bias{"b", at::randn({10}, at::kDouble)};
  const Norm norm{NormKind::kLayer, 1e-5, &weight, &bias};
  const at::Tensor centred = x - x.mean(-1, true);
  const at::Tensor expected =
      centred / (centred.square().mean(-1, true) + 1e-5).sqrt() * weight.value + bias.value;
  EXPECT_LT(worst(norm.apply(x), expected), 1e-12);
}

TEST(ActivationTest, EveryNameOfTheFieldIsKnownAndOthersAreRefused) {
  EXPECT_EQ(*parse_activation("silu"), Activation::kSilu);
  EXPECT_EQ(*parse_activation("swish"), Activation::kSilu);
  EXPECT_EQ(*parse_activation("gelu"), Activation::kGelu);
  EXPECT_EQ(*parse_activation("gelu_pytorch_tanh"), Activation::kGeluTanh);
  EXPECT_EQ(*parse_activation("gelu_new"), Activation::kGeluTanh);
  EXPECT_EQ(*parse_activation("quick_gelu"), Activation::kQuickGelu);
  EXPECT_EQ(*parse_activation("relu"), Activation::kRelu);
  const absl::Status status = parse_activation("sliu").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("hidden_act \"sliu\" is not supported"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("silu"));
}

TEST(ActivationTest, FusedLoopsAgreeWithTheDifferentiableOperations) {
  const at::Tensor x =
      at::cat({at::randn({1000}, at::kDouble) * 5, at::arange(-300, 300, at::kDouble)});
  const at::Tensor up = at::randn_like(x);
  for (Activation activation : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh,
                                Activation::kQuickGelu, Activation::kRelu, Activation::kRelu2}) {
    const at::Tensor expected = activate(activation, traced(x)).detach();
    EXPECT_LT(worst(activate(activation, x), expected), 1e-12);
    EXPECT_LT(worst(activate_gate(activation, x.clone(), up), expected * up), 1e-11);
    const at::Tensor single = x.to(at::kFloat);
    EXPECT_LT(worst(activate(activation, single), expected), 1e-4);
  }
}

TEST(ActivationTest, AnElementDoesNotDependOnWhereItStands) {
  const at::Tensor x = at::randn({1001}, at::kFloat) * 4;
  for (Activation activation : {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu}) {
    const at::Tensor whole = activate(activation, x);
    for (int64_t begin : {1, 3, 17, 990}) {
      EXPECT_TRUE(
          activate(activation, x.slice(0, begin).contiguous()).equal(whole.slice(0, begin)));
    }
  }
}

TEST(ActivationTest, NanStaysNan) {
  const at::Tensor x = at::ones({3}, at::kFloat) * std::nan("");
  EXPECT_TRUE(activate(Activation::kSilu, x).isnan().all().item<bool>());
  EXPECT_TRUE(activate(Activation::kRelu, x).isnan().all().item<bool>());
}

// Scores, mask and softmax written out, one sequence and head at a time.
at::Tensor plain_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const std::vector<int64_t>& lengths, const AttentionRule& rule) {
  at::Tensor result = at::zeros({q.size(0), q.size(1) * v.size(2)}, q.options());
  int64_t first = 0;
  for (int64_t length : lengths) {
    const at::Tensor row = at::arange(length, at::kLong).unsqueeze(1),
                     column = at::arange(length, at::kLong).unsqueeze(0);
    at::Tensor hidden = rule.causal ? column > row : at::zeros({length, length}, at::kBool);
    if (rule.window > 0) hidden = hidden.logical_or(column <= row - rule.window);
    for (int64_t head = 0; head < q.size(1); ++head) {
      const int64_t kv_head = head / (q.size(1) / k.size(1));
      const auto part = [&](const at::Tensor& x, int64_t h) {
        return x.slice(0, first, first + length).select(1, h);
      };
      at::Tensor scores = part(q, head).matmul(part(k, kv_head).t()) * rule.scale;
      if (rule.softcap > 0) scores = rule.softcap * at::tanh(scores / rule.softcap);
      if (rule.key_bias.defined()) scores = scores + rule.key_bias[head].slice(0, 0, length);
      const at::Tensor share = scores.masked_fill(hidden, -1e30).softmax(-1);
      result.slice(0, first, first + length)
          .slice(1, head * v.size(2), (head + 1) * v.size(2))
          .copy_(share.matmul(part(v, kv_head)));
    }
    first += length;
  }
  return result;
}

// Fused, traced and single precision against the formula.
void expect_formula(int64_t kv_heads, const AttentionRule& rule) {
  const std::vector<int64_t> lengths = {5, 5, 1, 40, 700, 3};
  const at::Tensor q = at::randn({754, 6, 8}, at::kDouble),
                   k = at::randn({754, kv_heads, 8}, at::kDouble),
                   v = at::randn({754, kv_heads, 10}, at::kDouble);
  const at::Tensor expected = plain_attention(q, k, v, lengths, rule);
  EXPECT_LT(worst(attention(q, k, v, lengths, rule), expected), 1e-12);
  EXPECT_LT(worst(attention(traced(q), k, v, lengths, rule), expected), 1e-12);
  AttentionRule single = rule;
  if (rule.key_bias.defined()) single.key_bias = rule.key_bias.to(at::kFloat);
  EXPECT_LT(worst(attention(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), lengths, single),
                  expected),
            rule.key_bias.defined() ? 4e-5 : 1e-5);  // biases of 350 leave the scores fewer bits
}

TEST(AttentionTest, AgreesWithTheFormulaForGroupsWindowsAndRaggedSequences) {
  for (int64_t kv_heads : {1, 2, 6}) {
    for (int64_t window : {0, 1, 4, 600, 5000}) {
      SCOPED_TRACE(absl::StrCat(kv_heads, " key heads, window ", window));
      expect_formula(kv_heads, {0.3, window});
    }
  }
}

TEST(AttentionTest, AgreesWithTheFormulaForCapsKeyBiasesAndWholeSequences) {
  for (int64_t window : {0, 4, 600}) {
    AttentionRule rule{0.3, window};
    rule.softcap = 1.5;
    expect_formula(2, rule);
    rule.key_bias = alibi_slopes(6).to(at::kDouble).unsqueeze(1) * at::arange(700, at::kDouble);
    expect_formula(2, rule);
    rule.softcap = 0;
    expect_formula(6, rule);
  }
  AttentionRule rule{0.3, 0};
  rule.causal = false;
  expect_formula(2, rule);
  rule.softcap = 1.5;
  expect_formula(2, rule);
}

// Press et al. 2022: a geometric sequence for powers of two; other counts take every second of
// twice as many.
TEST(AttentionTest, SlopesOfAlibi) {
  EXPECT_TRUE(alibi_slopes(4).equal(at::tensor({0.25f, 0.0625f, 0.015625f, 0.00390625f})));
  EXPECT_TRUE(
      alibi_slopes(6).allclose(at::tensor({0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f, 0.125f})));
}

TEST(AttentionTest, ASequenceDoesNotDependOnItsNeighboursOrThreads) {
  const at::Tensor q = at::randn({600, 6, 16}, at::kFloat), k = at::randn({600, 2, 16}, at::kFloat),
                   v = at::randn({600, 2, 16}, at::kFloat);
  for (int64_t window : {0, 50}) {
    const at::Tensor together = attention(q, k, v, {200, 200, 200}, {0.25, window});
    for (int threads : {1, 2}) {
      at::set_num_threads(threads);
      for (int64_t i = 0; i < 3; ++i) {
        const auto part = [&](const at::Tensor& x) { return x.slice(0, i * 200, (i + 1) * 200); };
        EXPECT_TRUE(
            attention(part(q), part(k), part(v), {200}, {0.25, window}).equal(part(together)));
      }
    }
  }
}

TEST(AttentionTest, NoTokensGiveNoRows) {
  const at::Tensor none = at::zeros({0, 2, 4}, at::kFloat);
  EXPECT_EQ(attention(none, none, none, {}, {}).sizes(), (std::vector<int64_t>{0, 8}));
}

}  // namespace
}  // namespace swage::nn
