#include "tests/kit/fake_device.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swage/builtin_formats.h"
#include "swage/quant/scalar_codec.h"
#include "swage/solve/column_sweep.h"
#include "tests/kit/fixture.h"

namespace swage {

static std::ostream& operator<<(std::ostream& out, const Scheme& scheme) {
  return out << to_json(to_value(scheme), -1);
}

namespace {

using test::fake_device;

at::Tensor on_fake(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.to(fake_device()) : tensor;
}
Parts on_fake(const Parts& parts) {
  Parts result;
  for (const auto& [name, tensor] : parts) result[name] = on_fake(tensor);
  return result;
}

// Bits, whatever the dtype: some have no comparison of their own.
bool same(const at::Tensor& device, const at::Tensor& host) {
  return device.scalar_type() == host.scalar_type() && device.sizes() == host.sizes() &&
         at::equal(device.cpu().contiguous().view(at::kByte), host.contiguous().view(at::kByte));
}

void expect_same(const Parts& device, const Parts& host) {
  ASSERT_EQ(device.size(), host.size());
  for (const auto& [name, tensor] : device) {
    EXPECT_EQ(tensor.device(), fake_device()) << name;
    EXPECT_TRUE(same(tensor, part(host, name))) << name;
  }
}

TEST(FakeDevice, ComputesWhatTheCpuComputes) {
  const at::Tensor a = at::arange(12, at::kFloat).view({3, 4}), b = on_fake(a);
  EXPECT_EQ(b.device(), fake_device());
  EXPECT_TRUE(at::equal((b * 2 + b.t().contiguous().t()).cpu(), a * 3));
  EXPECT_TRUE(at::equal(b.mm(b.t()).cpu(), a.mm(a.t())));
  EXPECT_EQ(b.sum().item<float>(), 66);
  EXPECT_TRUE(at::equal(at::cat({b, b}, 1).cpu(), at::cat({a, a}, 1)));
  EXPECT_TRUE(at::equal(at::tensor({1, 2}, b.options()).cpu(), at::tensor({1, 2}, a.options())));
}

TEST(FakeDevice, ViewsShareMemory) {
  const at::Tensor whole = on_fake(at::zeros({4, 4}));
  whole.narrow(1, 1, 2).select(0, 3).fill_(5);
  at::Tensor turned = whole.t().view(at::kInt);
  EXPECT_EQ(turned.storage().data(), whole.storage().data());
  whole.masked_fill_(whole.eq(0), 1);
  EXPECT_EQ(whole.sum().item<float>(), 2 * 5 + 14);
}

TEST(FakeDevice, RefusesTensorsOfTheCpuBesideItsOwn) {
  const at::Tensor a = at::ones({3});
  EXPECT_ANY_THROW(on_fake(a) + a);
  EXPECT_ANY_THROW(on_fake(a).index_select(0, at::zeros({2}, at::kLong)));
}

using FakeDeviceDeathTest = ::testing::Test;
TEST(FakeDeviceDeathTest, ItsMemoryCannotBeReadFromTheHost) {
  const at::Tensor a = on_fake(at::ones({3}));
  EXPECT_DEATH(static_cast<void>(*static_cast<const volatile float*>(a.const_data_ptr())), "");
}

TEST(FakeDevice, FactorsAreTheSame) {
  const at::Tensor hessian = test::fixture(21, 1, 160, 400, {{3, 6}}).hessian().to(at::kFloat);
  for (const solve::Order order : {solve::Order::kNatural, solve::Order::kActivation}) {
    auto host = solve::factorize(hessian, 0.01, order, 8);
    auto device = solve::factorize(on_fake(hessian), 0.01, order, 8);
    ASSERT_TRUE(host.ok() && device.ok());
    EXPECT_TRUE(at::equal(device->order.cpu(), host->order));
    ASSERT_TRUE(solve::correct_inputs(*host, hessian * 0.01, 0.5).ok());
    ASSERT_TRUE(solve::correct_inputs(*device, on_fake(hessian * 0.01), 0.5).ok());
    for (const auto& [found, expected] :
         {std::pair(device->r, host->r), std::pair(device->cross, host->cross)}) {
      EXPECT_EQ(found.device(), fake_device());
      EXPECT_LT((found.cpu() - expected).norm().item<float>(),
                1e-4 * expected.norm().item<float>());
    }
  }
}

// Every format of the library by its name, some under other keys too.
std::vector<Scheme> schemes() {
  std::vector<Scheme> result;
  const std::string manifest = swage::builtin_formats();
  const std::string head = "[[component]]", key = "name = \"";
  for (size_t at = manifest.find(head); at != std::string::npos; at = manifest.find(head, at + 1)) {
    const size_t first = manifest.find(key, at) + key.size();
    result.push_back({manifest.substr(first, manifest.find('"', first) - first), {}});
  }
  result.push_back({"int", {{"granularity", "channel"}, {"symmetric", false}}});
  result.push_back({"int", {{"symmetric", false}, {"zero", "float"}, {"range", "weighted"}}});
  result.push_back({"int", {{"group_scale", "int8"}, {"group", int64_t{64}}}});
  result.push_back({"int", {{"granularity", "block"}, {"range", "mse"}}});
  result.push_back({"fp8-e4m3", {{"granularity", "block"}}});
  result.push_back({"codebook", {{"columns", int64_t{2}}, {"bits", int64_t{6}}}});
  result.push_back({"e8p", {{"granularity", "tensor"}}});
  return result;
}

class Formats : public ::testing::TestWithParam<Scheme> {
 protected:
  static constexpr int64_t kOut = 6;

  void SetUp() override {
    auto made = make_codec(GetParam());
    ASSERT_TRUE(made.ok()) << made.status();
    codec_ = *std::move(made);
    in_ = std::max<int64_t>(64, codec_->column_multiple());
    const test::Fixture fixture = test::fixture(21, kOut, in_, 600, {{3, 6}, {40, 4}});
    weight_ = fixture.weight.to(at::kFloat);
    hessian_ = fixture.hessian().to(at::kFloat);
    request_.scale_dtype = at::kBFloat16;
    device_request_ = request_;
    if (codec_->wants_importance()) {
      request_.importance = hessian_.diagonal().contiguous();
      device_request_.importance = on_fake(request_.importance);
    }
  }

  Parts levels() const {
    auto levels = codec_->fit(weight_, request_);
    EXPECT_TRUE(levels.ok()) << levels.status();
    return *std::move(levels);
  }

  std::shared_ptr<const Codec> codec_;
  int64_t in_ = 0;
  at::Tensor weight_, hessian_;
  FitRequest request_, device_request_;
};

TEST_P(Formats, FitEncodeAndDecode) {
  const Parts levels = this->levels(), parts = codec_->encode(weight_, levels);
  auto fitted = codec_->fit(on_fake(weight_), device_request_);
  ASSERT_TRUE(fitted.ok()) << fitted.status();
  expect_same(*fitted, levels);
  const Parts device = codec_->encode(on_fake(weight_), *fitted);
  expect_same(device, parts);
  EXPECT_TRUE(codec_->validate(device, kOut, in_).ok()) << codec_->validate(device, kOut, in_);
  EXPECT_EQ(codec_->level_bits(device), codec_->level_bits(parts));
  const at::Tensor value = codec_->decode(device, kOut, in_);
  EXPECT_EQ(value.device(), fake_device());
  EXPECT_TRUE(same(value, codec_->decode(parts, kOut, in_)));
}

TEST_P(Formats, FitHonoursLimits) {
  if (!codec_->takes_limits()) return;
  FitRequest limited = request_;
  limited.clip_low = at::ones({kOut, codec_->group_count(in_)}) * -0.08;
  limited.clip_high = at::ones({kOut, codec_->group_count(in_)}) * 0.08;
  FitRequest on_device = device_request_;
  on_device.clip_low = on_fake(limited.clip_low);
  on_device.clip_high = on_fake(limited.clip_high);
  const auto host = codec_->fit(weight_, limited);
  const auto device = codec_->fit(on_fake(weight_), on_device);
  ASSERT_TRUE(host.ok() && device.ok()) << host.status() << device.status();
  expect_same(*device, *host);
}

TEST_P(Formats, RoundToNearest) {
  Linear linear, on_device;
  linear.name = on_device.name = "m";
  linear.weight = weight_;
  linear.mask = weight_.abs().gt(0.02);
  on_device.weight = on_fake(weight_);
  on_device.mask = on_fake(linear.mask);
  const auto rounded = quant::quantize(linear, {codec_, request_});
  const auto near = quant::quantize(on_device, {codec_, device_request_});
  ASSERT_TRUE(rounded.ok() && near.ok());
  EXPECT_EQ(digest(*near), digest(*rounded));
  EXPECT_EQ(storage_bits(*near), storage_bits(*rounded));
  EXPECT_TRUE(validate(*near).ok()) << validate(*near);
}

// With a mask, an order and a cross term: the plain loops give the same codes on both.
TEST_P(Formats, Sweep) {
  Linear linear;
  linear.name = "m";
  linear.weight = on_fake(weight_);
  const at::Tensor mask = weight_.abs().gt(0.02);
  linear.mask = on_fake(mask);
  const int64_t block = std::max<int64_t>(codec_->block_columns(), 1);
  auto factor = solve::factorize(hessian_, 0.01, solve::Order::kActivation, block);
  ASSERT_TRUE(factor.ok());
  ASSERT_TRUE(solve::correct_inputs(*factor, hessian_ * 0.01, 0.5).ok());
  solve::Factor there = *factor;
  for (at::Tensor* tensor : {&there.r, &there.cross, &there.order, &there.dead})
    *tensor = on_fake(*tensor);
  const auto swept = solve::column_sweep(linear, there, {codec_, device_request_});
  ASSERT_TRUE(swept.ok()) << swept.status();
  EXPECT_TRUE(validate(swept->result).ok()) << validate(swept->result);
  EXPECT_EQ(decode(swept->result).device(), fake_device());

  auto levels = codec_->fit(weight_.masked_fill(mask.logical_not(), 0), request_);
  ASSERT_TRUE(levels.ok()) << levels.status();
  double loss = 0;
  Parts expected = *levels;
  if (codec_->block_columns() > 0) {
    expected = solve::sweep_blocks_plain(weight_, *factor, *codec_, *levels, mask, &loss);
    EXPECT_NEAR(swept->loss / loss, 1, 0.05);  // panels are fp32, the plain loop is fp64
    return;
  }
  expected["codes"] =
      solve::sweep_codes_plain(weight_, *factor, *codec_->grid(*levels, kOut, in_), mask, &loss);
  EXPECT_NEAR(swept->loss / loss, 1, 1e-6);
  EXPECT_TRUE(at::equal(decode(swept->result).cpu(),
                        codec_->decode(expected, kOut, in_).masked_fill(mask.logical_not(), 0)));
}

TEST_P(Formats, LinearsApplyThem) {
  const auto result = quant::quantize(
      [&] {
        Linear linear;
        linear.name = "m";
        linear.weight = weight_;
        return linear;
      }(),
      {codec_, request_});
  ASSERT_TRUE(result.ok()) << result.status();
  Linear linear;
  linear.name = "m";
  linear.weight = on_fake(weight_);
  Result device("m", codec_, kOut, in_, on_fake(result->parts()));
  EXPECT_EQ(digest(device), digest(*result));
  device.add_side(
      {Side::Kind::kColumns,
       Side::Input::kRaw,
       {{"index", on_fake(at::tensor({7, 2}, at::kLong))}, {"value", on_fake(at::ones({kOut, 2}))}},
       nullptr,
       nullptr});
  device.add_side({Side::Kind::kEntries,
                   Side::Input::kQuantized,
                   {{"index", on_fake(at::tensor({3, 5, 4, 63}, at::kLong).view({2, 2}))},
                    {"value", on_fake(at::ones({2}))}},
                   nullptr,
                   nullptr});
  const auto tokens = *make_codec(
      Scheme{"int", {{"bits", int64_t{8}}, {"granularity", "token"}, {"dynamic", true}}});
  device.set_activation(ActivationQuantizer{tokens, {}});
  ASSERT_TRUE(linear.set_result(device).ok());
  linear.set_view(View::kCompressed);
  const at::Tensor x = test::fixture(3, 1, in_, 40, {}).input.to(at::kFloat);
  const at::Tensor y = linear.apply(on_fake(x));
  EXPECT_EQ(y.device(), fake_device());
  const at::Tensor expected = tokens->quantize_input(x, {}).mm(decode(device).cpu().t()) +
                              x.mm(decode_raw(device).cpu().t());
  EXPECT_LT((y.cpu() - expected).abs().max().item<float>(),
            1e-4 * expected.abs().max().item<float>());
}

INSTANTIATE_TEST_SUITE_P(All, Formats, ::testing::ValuesIn(schemes()), [](const auto& info) {
  std::string name = std::to_string(info.index) + "_" + info.param.format;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

TEST(FakeDevice, InputsAreQuantizedThere) {
  const at::Tensor x = test::fixture(3, 1, 128, 40, {{5, 30}}).input.to(at::kFloat);
  for (const Value::Table& keys :
       {Value::Table{{"granularity", "token"}, {"dynamic", true}, {"symmetric", false}},
        Value::Table{{"granularity", "group"}, {"group", int64_t{32}}, {"dynamic", true}},
        Value::Table{{"granularity", "tensor"}, {"dynamic", true}},
        Value::Table{{"granularity", "tensor"}, {"dynamic", false}}}) {
    const auto codec = make_codec(Scheme{"int", keys});
    ASSERT_TRUE(codec.ok()) << codec.status();
    const Parts fixed = (*codec)->input_levels(-3, 4);
    const at::Tensor y = (*codec)->quantize_input(on_fake(x), on_fake(fixed));
    EXPECT_EQ(y.device(), fake_device());
    EXPECT_TRUE(same(y, (*codec)->quantize_input(x, fixed)));
  }
}

}  // namespace
}  // namespace swage
