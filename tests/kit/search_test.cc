#include "swage/quant/search.h"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/fixture.h"
#include "tests/kit/scheme.h"

namespace swage {
namespace {

using quant::Limits;
using quant::LimitSearch;
using test::f1;
using test::f5;
using test::Format;
using ::testing::HasSubstr;

Format groups(int bits, int64_t size, bool symmetric = false, const char* convention = "llmc") {
  return test::weight("int", {{"bits", bits},
                              {"granularity", "group"},
                              {"group", size},
                              {"symmetric", symmetric},
                              {"convention", convention}});
}

// Mean of x^ratio scales as AWQ normalises them.
at::Tensor awq_scale(const test::Fixture& fixture, double ratio) {
  const at::Tensor scale = fixture.input.abs().mean(0).pow(ratio).clamp_min(1e-4);
  return scale / (scale.max() * scale.min()).sqrt();
}

double scaled_loss(const test::Fixture& fixture, const at::Tensor& scale, int bits) {
  const auto trial = quant::round_trip_scaled(fixture.weight, scale, *groups(bits, 8), at::kDouble);
  EXPECT_TRUE(trial.ok()) << trial.status();
  return quant::output_error(*trial - fixture.weight, fixture.hessian()) / (2 * 64 * 8);
}

TEST(ScaleSearch, ReproducesTheGoldenLosses) {
  const auto fixture = f1();
  EXPECT_NEAR(scaled_loss(fixture, awq_scale(fixture, 0), 3), .07485890457515117, 1e-13);
  EXPECT_NEAR(scaled_loss(fixture, awq_scale(fixture, .4), 3), .025954672054779103, 1e-13);
  EXPECT_NEAR(scaled_loss(fixture, awq_scale(fixture, 0), 4), .00748032934674732, 1e-13);
  EXPECT_NEAR(scaled_loss(fixture, awq_scale(fixture, .3), 4), .005593329917405359, 1e-13);
  for (const int bits : {3, 4}) {
    int best = 0;
    double least = 1;
    for (int n = 0; n < 20; ++n) {
      const double loss = scaled_loss(fixture, awq_scale(fixture, n / 20.0), bits);
      if (loss < least) {
        least = loss;
        best = n;
      }
    }
    EXPECT_EQ(best, bits == 3 ? 8 : 6);
  }
}

TEST(ScaleSearch, GivesTheBitsOfThePlainExpression) {
  const auto fixture = test::fixture(9, 37, 203, 1, {});
  const at::Tensor scale = fixture.input[0].abs() + 0.1;
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    for (const char* const granularity : {"group", "channel", "tensor"}) {
      for (const bool symmetric : {true, false}) {
        const Format format =
            test::with(groups(3, 29, symmetric, "minmax"), {{"granularity", granularity}});
        const at::Tensor w = fixture.weight.to(type), s = scale.to(type);
        const Format searched = test::with(format, {{"range", "mse"}});  // left to the final one
        for (const at::ScalarType storage : {at::kBFloat16, type}) {
          const at::Tensor plain = test::rounded(w * s, format, storage) / s;
          const auto fast = quant::round_trip_scaled(w, s, *searched, storage);
          ASSERT_TRUE(fast.ok()) << fast.status();
          EXPECT_TRUE(at::equal(*fast, plain)) << format->describe() << " " << storage;
        }
      }
    }
  }
}

TEST(ScaleSearch, RefusesWhatTheQuantizerRefuses) {
  at::Tensor weight = f5().weight.to(at::kFloat);
  const at::Tensor ones = at::ones({64});
  const auto refusal = [&](const Format& format, at::ScalarType storage) {
    return std::string(quant::round_trip_scaled(weight, ones, *format, storage).status().message());
  };
  EXPECT_THAT(refusal(groups(4, 24), at::kBFloat16),
              HasSubstr("a group of 24 columns does not divide the input width 64"));
  weight[3][4] = 1e7;
  EXPECT_THAT(refusal(groups(4, 16), at::kHalf),
              HasSubstr("the scale of row 3, group 0 does not fit the dtype of the scales"));
  weight[3][4] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(refusal(groups(4, 16), at::kBFloat16),
              HasSubstr("the weight holds NaN at row 3, column 4"));
}

TEST(OutputError, IsTheSquaredErrorOfTheOutputs) {
  const auto fixture = f5();
  const at::Tensor error = fixture.weight * 0.01;
  const double direct = fixture.input.mm(error.t()).square().sum().item<double>();
  EXPECT_NEAR(quant::output_error(error, fixture.hessian()) / (2 * direct), 1, 1e-12);
}

Limits limits_of(const at::Tensor& weight, const at::Tensor& hessian, const Format& format,
                 const LimitSearch& search, at::ScalarType storage = at::kDouble) {
  auto limits = quant::search_limits(weight, hessian, *format, storage, search);
  EXPECT_TRUE(limits.ok()) << limits.status();
  return *std::move(limits);
}

// In fp64, so that golden numbers keep their digits.
at::Tensor rounded_within(const at::Tensor& weight, const Format& format, const Limits& limits) {
  const int64_t width = format->group_width(weight.size(1));
  const at::Tensor inside = at::clamp(weight, limits.low.repeat_interleave(width, 1),
                                      limits.high.repeat_interleave(width, 1));
  return quant::round_trip(inside,
                           test::grid_of(weight, format, at::kDouble, limits.low, limits.high));
}

struct Golden {
  int bits;
  bool symmetric;
  double clip_error, error;
};

TEST(LimitSearch, ReproducesTheGoldenNumbers) {
  const auto fixture = f1();
  const Golden table[] = {{2, true, 2.947386745, 398.12484},
                          {2, false, 2.589038959, 352.90408},
                          {3, true, .30157003, 40.945576},
                          {3, false, .31097687, 41.721417}};
  for (const Golden& golden : table) {
    SCOPED_TRACE(golden.bits * 10 + golden.symmetric);
    LimitSearch search;
    search.symmetric = golden.symmetric;
    const Format format = groups(golden.bits, 8);
    const Limits limits = limits_of(fixture.weight, fixture.hessian() / 2, format, search);
    EXPECT_NEAR(limits.error.sum().item<double>() / 64 / golden.clip_error, 1, 2e-8);
    const at::Tensor q = rounded_within(fixture.weight, format, limits);
    EXPECT_NEAR(fixture.error(q) / golden.error, 1, 1e-7);
  }
}

TEST(LimitSearch, IsNeverWorseThanTheFullRangeInAnyGroup) {
  const auto fixture = f5();
  for (const bool symmetric : {true, false}) {
    for (const char* const convention : {"minmax", "gptq", "full-range", "llmc"}) {
      if (!symmetric && convention == std::string("full-range")) continue;
      const Format format = groups(2, 16, symmetric, convention);
      LimitSearch search;
      search.symmetric = symmetric;
      const Limits found = limits_of(fixture.weight, fixture.hessian(), format, search);
      search.steps = 1;
      const Limits full = limits_of(fixture.weight, fixture.hessian(), format, search);
      EXPECT_TRUE(found.error.le(full.error).all().item<bool>());
      EXPECT_LT(found.error.sum().item<double>(), 0.9 * full.error.sum().item<double>());
      // The error it promises is the error that rounding within the limits makes.
      const at::Tensor e = rounded_within(fixture.weight, format, found) - fixture.weight;
      for (int64_t g = 0; g < 4; ++g) {
        const at::Tensor part = e.narrow(1, g * 16, 16);
        const at::Tensor gram = fixture.hessian().narrow(0, g * 16, 16).narrow(1, g * 16, 16);
        EXPECT_TRUE((part.mm(gram) * part).sum(1).allclose(found.error.select(1, g), 1e-5));
      }
    }
  }
}

TEST(LimitSearch, ARowDoesNotSeeItsNeighboursOrTheThreads) {
  const auto fixture = test::fixture(3, 300, 64, 128, {{3, 6}});
  const at::Tensor w = fixture.weight.to(at::kFloat), h = fixture.hessian().to(at::kFloat);
  const Format format = groups(3, 32);
  const Limits all = limits_of(w, h, format, {}, at::kBFloat16);
  const Limits some = limits_of(w.narrow(0, 100, 7), h, format, {}, at::kBFloat16);
  EXPECT_TRUE(at::equal(all.low.narrow(0, 100, 7), some.low));
  EXPECT_TRUE(at::equal(all.high.narrow(0, 100, 7), some.high));
  const int threads = at::get_num_threads();
  at::set_num_threads(threads == 1 ? 2 : 1);
  EXPECT_TRUE(at::equal(limits_of(w, h, format, {}, at::kBFloat16).low, all.low));
  at::set_num_threads(threads);
}

TEST(LimitSearch, KeepsTheFullRangeWhereNothingIsKnown) {
  const at::Tensor w = f5().weight.to(at::kFloat);
  const at::Tensor nothing = at::zeros({64, 64});
  for (const at::Tensor& hessian : {nothing, nothing + std::nanf("")}) {
    const Limits limits = limits_of(w, hessian, groups(3, 16), {}, at::kBFloat16);
    EXPECT_TRUE(at::equal(limits.low, w.view({32, 4, 16}).amin(2)));
    EXPECT_TRUE(at::equal(limits.high, w.view({32, 4, 16}).amax(2)));
  }
}

TEST(LimitSearch, ServesRowsAndShortTails) {
  const auto fixture = f5();
  const Format format = test::with(groups(3, 48), {{"group_tail", "short"}});
  EXPECT_EQ(limits_of(fixture.weight, fixture.hessian(), format, {}).low.sizes(),
            (c10::IntArrayRef{32, 2}));
  const Format channel = test::with(format, {{"granularity", "channel"}});
  EXPECT_EQ(limits_of(fixture.weight, fixture.hessian(), channel, {}).low.sizes(),
            (c10::IntArrayRef{32, 1}));
}

TEST(LimitSearch, RefusesFormatsWithoutGroups) {
  const auto fixture = f5();
  for (const Format& format :
       {test::with(groups(8, 16, true), {{"granularity", "tensor"}}),
        test::with(groups(8, 16, true), {{"group_scale", "int8"}}),
        test::weight("fp8-e4m3", {{"granularity", "block"}, {"block_columns", 32}})}) {
    const auto status =
        quant::search_limits(fixture.weight, fixture.hessian(), *format, at::kFloat, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("range limits are searched for formats with levels of their own for "
                          "every group of a row, not for " +
                          format->describe()));
  }
}

}  // namespace
}  // namespace swage
