#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "export_support.h"
#include "swage/io/stored_checkpoint.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Value::Table kParams = {{"shard_size", 5000}};
const char kLinear[] = "model.layers.0.mlp.down_proj";
const char kTensor[] = R"({"format": "fp8-e4m3", "granularity": "tensor", "share": "fused"})";
const char kBlock[] = R"({"format": "fp8-e4m3", "granularity": "block"})";
const char kToken[] = R"({"format": "fp8-e4m3", "granularity": "token"})";
const char kStatic[] = R"({"format": "fp8-e4m3", "granularity": "tensor", "dynamic": false})";
const char kGroup[] = R"({"format": "fp8-e4m3", "granularity": "group"})";

struct Kind {
  std::string weight, activation;
  int64_t out, in;
};
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {kTensor, kToken, 45, 33},
      {kTensor, kStatic, 45, 33},
      {kTensor, kStatic, 1, 1},
      {kBlock, kGroup, 256, 128},
      {R"({"format": "fp8-e4m3", "granularity": "block", "block_rows": 3, "block_columns": 5})",
       R"({"format": "fp8-e4m3", "granularity": "group", "group": 5})", 9, 35}};
  return all;
}

Result make(const Kind& kind, const std::string& name = kLinear) {
  Result linear = quantized(name, kind.out, kind.in, scheme(kind.weight), at::kFloat);
  linear.set_activation(activation(kind.activation));
  return linear;
}

const Value& block(const Export& run) { return run.config()["quantization_config"]; }

// What check() says of one planned linear, with scales in fp32 as beside an activation.
std::string said(const std::string& exporter, const std::string& weight, const std::string& input,
                 int64_t out = 256, int64_t in = 256, at::ScalarType scales = at::kFloat) {
  LinearSummary linear;
  linear.name = kLinear;
  linear.weight = scheme(weight);
  linear.out = out;
  linear.in = in;
  linear.scale_dtype = scales;
  if (!input.empty()) linear.activation = activation(input).codec;
  Export run(exporter, kParams);
  return std::string(run.exporter().check({linear}).message());
}

TEST(Fp8Exporter, FilesDecodeToWhatWasEncoded) {
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.weight + " " + kind.activation);
    const Result linear = make(kind);
    Export run("fp8", kParams);
    run.add(linear);
    run.keep("model.layers.0.mlp.up_proj", at::randn({4, 4}).to(at::kBFloat16));
    run.finish();
    const Result back = must(run.decode(kLinear));
    EXPECT_EQ(digest(back), digest(linear));
    EXPECT_EQ(back.activation()->codec->form(), linear.activation()->codec->form());
    EXPECT_TRUE(at::equal(decode(back), decode(linear)));
    EXPECT_TRUE(absl::IsNotFound(run.decode("model.layers.0.mlp.up_proj").status()));
  }
}

// amax 3.5: scale 2^-7, 1.0 is the code 0x70 of 128.
TEST(Fp8Exporter, WritesTheTensorsOfTheFormat) {
  Linear floats;
  floats.name = kLinear;
  floats.weight = at::tensor({3.5f, 1.0f}).view({1, 2});
  Target target;
  target.codec = scheme(kTensor);
  Result linear = must(quant::quantize(floats, target));
  linear.set_activation(activation(kStatic));
  Export run("fp8", kParams);
  run.add(linear);
  run.finish();
  const std::string name = kLinear;
  EXPECT_THAT(run.files().names(),
              ElementsAre(name + ".input_scale", name + ".weight", name + ".weight_scale"));
  const at::Tensor codes = must(run.files().read(name + ".weight")).view(at::kByte);
  EXPECT_EQ(codes[0][0].item<int>(), 0x7E);
  EXPECT_EQ(codes[0][1].item<int>(), 0x70);
  for (const char* part : {".weight_scale", ".input_scale"}) {
    EXPECT_THAT(must(run.files().shape(name + part)), IsEmpty());
    EXPECT_EQ(must(run.files().dtype(name + part)), at::kFloat);
  }
  EXPECT_EQ(must(run.files().read(name + ".weight_scale")).item<float>(), 0.0078125f);
  EXPECT_EQ(must(run.files().read(name + ".input_scale")).item<float>(), 5.0f / 448);
  EXPECT_EQ(block(run).str("activation_scheme", ""), "static");
  EXPECT_THAT(to_json(block(run)["ignored_layers"]), HasSubstr("lm_head"));
}

TEST(Fp8Exporter, WritesBlocksAsDeepSeekDid) {
  const Result linear = make(kinds()[3]);
  Export run("fp8", kParams);
  run.add(linear);
  run.keep("model.layers.0.mlp.gate_proj", at::randn({4, 4}).to(at::kBFloat16));
  run.finish();
  const std::string name = kLinear;
  EXPECT_THAT(must(run.files().shape(name + ".weight_scale_inv")), ElementsAre(2, 1));
  const at::Tensor codes = must(run.files().read(name + ".weight")).to(at::kFloat),
                   scales = must(run.files().read(name + ".weight_scale_inv"));
  EXPECT_TRUE(
      at::equal(decode(linear).narrow(0, 128, 128), codes.narrow(0, 128, 128) * scales[1][0]));
  EXPECT_EQ(block(run)["weight_block_size"], Value(Value::List{128, 128}));
  EXPECT_EQ(block(run).str("fmt", ""), "e4m3");
  EXPECT_EQ(block(run).str("activation_scheme", ""), "dynamic");
  const Value floats = Value::List{"model.layers.0.mlp.gate_proj", "lm_head"};
  EXPECT_EQ(block(run)["ignored_layers"], floats);
  EXPECT_EQ(block(run)["modules_to_not_convert"], floats);
}

// The folder is one that a run may start from, too: then it counts as floats.
TEST(Fp8Exporter, FoldersAreFloatsUnlessTheyAreOpenedAsStored) {
  const Result linear = make(kinds()[3]);
  Export run("fp8", kParams);
  run.add(linear);
  run.finish(Value(Value::Table{{"model_type", "llama"}, {"torch_dtype", "float32"}}));
  const auto floats = must(io::open_checkpoint(run.directory()));
  EXPECT_TRUE(
      at::equal(must(floats->weights().read(std::string(kLinear) + ".weight")), decode(linear)));
  EXPECT_FALSE(floats->config().has("quantization_config"));
  const auto stored = must(io::open_stored_checkpoint(run.directory()));
  EXPECT_TRUE(stored->weights().has(std::string(kLinear) + ".weight_scale_inv"));
  EXPECT_EQ(stored->identity(), floats->identity());
  EXPECT_EQ(digest(must(run.exporter().decode(kLinear, stored->weights(), stored->config()))),
            digest(linear));
}

TEST(Fp8Exporter, RefusesWhatReadersWould) {
  for (const auto& [weight, input, why] : std::vector<std::array<std::string, 3>>{
           {R"({"bits": 8})", "", "use format = \"fp8-e4m3\""},
           {R"({"format": "fp8-e5m2"})", kToken, "use format = \"fp8-e4m3\""},
           {R"({"format": "fp8-e4m3", "granularity": "channel"})", kToken, "share = \"fused\""},
           {R"({"format": "fp8-e4m3", "granularity": "group"})", kToken, "no scale for a group"},
           {kTensor, "", "its readers quantize inputs, too"},
           {kTensor, R"({"bits": 8})", "its inputs are fp8"},
           {kTensor, kGroup, "granularity = \"token\""},
           {kTensor, R"({"format": "fp8-e4m3", "granularity": "tensor"})", "dynamic = false"},
           {kBlock, "", "group = 128 }"},
           {kBlock, kToken, "group = 128 }"},
           {kBlock, R"({"format": "fp8-e4m3", "granularity": "group", "group": 64})",
            "group = 128 }"}}) {
    SCOPED_TRACE(weight + " " + input);
    EXPECT_THAT(said("fp8", weight, input), testing::AllOf(HasSubstr(kLinear), HasSubstr(why)));
  }
  EXPECT_THAT(said("fp8", kTensor, kToken, 256, 256, at::kBFloat16),
              HasSubstr("scale_dtype = \"fp32\""));
  EXPECT_THAT(said("fp8", kBlock, kGroup, 320), HasSubstr("its 320 rows are no multiple of 128"));
  EXPECT_THAT(said("fp8", kBlock, kGroup, 256, 320), HasSubstr("its 320 columns"));
  EXPECT_EQ(said("fp8", kBlock, kGroup), "");
  EXPECT_EQ(said("fp8", kTensor, kStatic), "");
}

LinearSummary planned(const std::string& name, const std::string& weight,
                      const std::string& input) {
  LinearSummary linear = summary(quantized(name, 128, 128, scheme(weight), at::kFloat));
  linear.activation = activation(input).codec;
  return linear;
}

TEST(Fp8Exporter, RefusesMembersOfOneMatrixThatDiffer) {
  const auto said = [](const std::vector<LinearSummary>& linears) {
    Export run("fp8", kParams);
    return std::string(run.exporter().check(linears).message());
  };
  const std::string q = "model.layers.0.self_attn.q_proj", k = "model.layers.0.self_attn.k_proj";
  EXPECT_EQ(said({planned(q, kTensor, kToken), planned(k, kTensor, kToken)}), "");
  const char own[] = R"({"format": "fp8-e4m3", "granularity": "tensor"})";
  EXPECT_THAT(said({planned(q, own, kToken), planned(k, own, kToken)}),
              HasSubstr("write share = \"fused\""));
  EXPECT_EQ(said({planned(kLinear, own, kToken)}), "");
  EXPECT_THAT(said({planned(q, kTensor, kToken), kept(k, 128, 128)}),
              HasSubstr(k + " is kept in floats and " + q));
  EXPECT_THAT(said({planned(q, kTensor, kToken), planned(kLinear, kTensor, kStatic)}),
              HasSubstr("activation_scheme is one for all"));
  EXPECT_THAT(said({planned(q, kTensor, kToken), planned(kLinear, kBlock, kGroup)}),
              HasSubstr("states one scheme for all"));
}

// A scheme that shares is a promise, which is looked at when the tensors are there.
TEST(Fp8Exporter, RefusesMembersWithTwoScales) {
  const Kind kind = kinds()[0];
  Export run("fp8", kParams);
  run.add(make(kind, "model.layers.0.mlp.gate_proj"));
  run.add(make(kind, "model.layers.0.mlp.up_proj"));
  try {
    run.finish();
    FAIL() << "two scales were taken";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("model.layers.0.mlp.up_proj.weight_scale is "));
  }
}

// What read() makes of a checkpoint that was changed.
class Fp8Damage : public ::testing::Test {
 protected:
  void open(const Kind& kind) {
    run_ = std::make_unique<Export>("fp8", kParams);
    linear_ = make(kind);
    run_->add(linear_);
    run_->finish();
    for (const std::string& name : run_->files().names())
      store_.tensors[name] = must(run_->files().read(name));
    config_ = run_->config();
  }
  absl::StatusOr<Result> read() { return run_->exporter().decode(kLinear, store_, config_); }
  void expect(const std::string& what) {
    EXPECT_THAT(std::string(read().status().message()), HasSubstr(what));
    for (const std::string& name : run_->files().names())
      store_.tensors[name] = must(run_->files().read(name));
    config_ = run_->config();
  }
  Value& key(const std::string& name) {
    return (*(*config_.table())["quantization_config"].table())[name];
  }
  at::Tensor& tensor(const std::string& part) {
    return store_.tensors[std::string(kLinear) + "." + part];
  }

  std::unique_ptr<Export> run_;
  Result linear_;
  TensorStore store_;
  Value config_;
};

TEST_F(Fp8Damage, EveryTensorAndKeyCounts) {
  open(kinds()[1]);
  ASSERT_EQ(digest(must(read())), digest(linear_));
  for (const char* part : {"weight_scale", "input_scale"}) {
    tensor(part) = tensor(part) * 2;
    EXPECT_NE(digest(must(read())), digest(linear_)) << part;
    tensor(part) = at::full({2}, 1.0f);
    expect("[2], expected [1]");
    store_.tensors.erase(std::string(kLinear) + "." + part);
    expect("is missing");
  }
  tensor("weight_scale") = at::full({}, std::numeric_limits<float>::quiet_NaN());
  expect("scales");
  tensor("weight") = tensor("weight").to(at::kFloat8_e5m2);
  expect("expected Float8_e4m3fn");
  tensor("weight") = tensor("weight").flatten();
  expect("expected a shape of 2 sizes");
  tensor("weight") = tensor("weight").to(at::kBFloat16);
  expect("neither ignored_layers nor modules_to_not_convert names it");
  key("activation_scheme") = "dynamic";
  expect("input_scale is there");
  key("activation_scheme") = Value();
  expect("expected \"static\" or \"dynamic\"");
  key("quant_method") = "fp4";
  expect("expected \"fp8\"");
  key("weight_block_size") = Value::List{4, 4};
  expect("activation_scheme is \"static\"");
  key("ignored_layers") = Value::List{"mlp.down_proj"};
  expect("weight is Float8_e4m3fn");
  key("ignored_layers") = Value::List{"mlp.down"};
  EXPECT_EQ(digest(must(read())), digest(linear_));
}

TEST_F(Fp8Damage, BlocksAreChecked) {
  open(kinds()[3]);
  ASSERT_EQ(digest(must(read())), digest(linear_));
  key("weight_block_size") = Value::List{64, 128};
  expect("weight_scale_inv is [2, 1], expected [4, 1]");
  for (const Value& sides :
       {Value(Value::List{128}), Value(Value::List{0, 128}), Value(Value::List{-1, 128}),
        Value("128"), Value(Value::List{int64_t{1} << 50, 128})}) {
    key("weight_block_size") = sides;
    expect("expected two sizes above 0");
  }
  key("scale_fmt") = "ue8m0";
  expect("scale_fmt is \"ue8m0\"");
  key("fmt") = "e5m2";
  expect("fmt is \"e5m2\"");
  tensor("weight_scale_inv") = tensor("weight_scale_inv") * 2;
  EXPECT_NE(digest(must(read())), digest(linear_));
}

// Checkpoints of others: scales in bf16, blocks that are cut, no list of what stays in floats.
TEST_F(Fp8Damage, CheckpointsOfOthersAreRead) {
  open(kinds()[3]);
  tensor("weight_scale_inv") = tensor("weight_scale_inv").to(at::kBFloat16);
  Result read = must(this->read());
  EXPECT_EQ(read.part("scales").scalar_type(), at::kFloat);
  tensor("weight") = tensor("weight").narrow(0, 0, 130).contiguous();
  read = must(this->read());
  EXPECT_EQ(read.out(), 130);
  key("ignored_layers") = Value();
  key("modules_to_not_convert") = Value();
  tensor("weight") = tensor("weight").to(at::kBFloat16);
  EXPECT_TRUE(absl::IsNotFound(this->read().status()));
}

TEST(LightLlm, WritesBlocksOf128Alone) {
  const Result linear = make(kinds()[3]);
  Export run("lightllm", kParams);
  run.add(linear);
  run.finish();
  EXPECT_EQ(digest(must(run.decode(kLinear))), digest(linear));
  EXPECT_EQ(block(run).str("quant_method", ""), "fp8");
  Value other = run.config();
  (*(*other.table())["quantization_config"].table())["weight_block_size"] = Value::List{64, 64};
  EXPECT_THAT(std::string(run.exporter().decode(kLinear, run.files(), other).status().message()),
              HasSubstr("weight_block_size"));
  EXPECT_THAT(said("lightllm", kTensor, kToken), HasSubstr("blocks of 128 x 128"));
  EXPECT_THAT(said("lightllm",
                   R"({"format": "fp8-e4m3", "granularity": "block", "block_rows": 64})", kGroup),
              HasSubstr("blocks of 128 x 128"));
  EXPECT_THAT(said("lightllm", kBlock, kGroup, 192), HasSubstr("its 192 rows"));
  EXPECT_EQ(said("lightllm", kBlock, kGroup), "");
}

}  // namespace
}  // namespace swage
