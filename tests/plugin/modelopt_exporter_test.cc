#include <ATen/ops/equal.h>
#include <ATen/ops/exp2.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "export_support.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Value::Table kParams = {{"shard_size", 5000}};
const char kLinear[] = "model.layers.0.mlp.down_proj";
const char kTensor[] = R"({"format": "fp8-e4m3", "granularity": "tensor", "share": "fused"})";
const char kStatic[] = R"({"format": "fp8-e4m3", "granularity": "tensor", "dynamic": false})";
const char kChannel[] = R"({"format": "fp8-e4m3"})";
const char kToken[] = R"({"format": "fp8-e4m3", "granularity": "token"})";
const char kNvfp4[] = R"({"format": "nvfp4", "tensor_scale": "multiplies"})";
const char kNvfp4Inputs[] =
    R"({"format": "nvfp4", "tensor_scale": "multiplies", "dynamic": false})";
const char kInt4[] = R"({"group": 16})";
const char kBlocks[] = R"({"format": "fp8-e4m3", "granularity": "block"})";
const char kMxfp8[] = R"({"format": "mxfp8"})";
const char kMxfp8Inputs[] = R"({"format": "mxfp8", "dynamic": true})";
const char kInt8[] = R"({"bits": 8, "granularity": "channel"})";
const char kInt8Inputs[] = R"({"bits": 8, "granularity": "tensor", "dynamic": false})";

struct Kind {
  std::string weight, activation, algorithm;
};
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {kTensor, kStatic, "FP8"},       {kChannel, kToken, "FP8_PER_CHANNEL_PER_TOKEN"},
      {kNvfp4, kNvfp4Inputs, "NVFP4"}, {kNvfp4, "", "W4A16_NVFP4"},
      {kInt4, "", "W4A16_AWQ"},        {kMxfp8, kMxfp8Inputs, "MXFP8"},
      {kBlocks, "", "FP8_PB_WO"},      {kInt8, kInt8Inputs, "W8A8_SQ_PER_CHANNEL"},
  };
  return all;
}

Result make(const Kind& kind, const std::string& name = kLinear,
            at::ScalarType scales = at::kFloat) {
  const bool blocks = kind.weight == kBlocks;  // which are whole
  Result linear =
      quantized(name, blocks ? 256 : 46, blocks ? 128 : 96, scheme(kind.weight), scales);
  if (!kind.activation.empty()) linear.set_activation(activation(kind.activation));
  return linear;
}

const Value& block(const Export& run) { return run.config()["quantization_config"]; }
Value side_file(const Export& run) {
  return must(parse_json(run.text("hf_quant_config.json"), "hf_quant_config.json"));
}

std::string said(const std::vector<LinearSummary>& planned) {
  Export run("modelopt", kParams);
  return std::string(run.exporter().check(planned).message());
}
LinearSummary planned(const std::string& name, const std::string& weight, const std::string& input,
                      at::ScalarType scales = at::kFloat) {
  LinearSummary linear;
  linear.name = name;
  linear.out = 46;
  linear.in = 96;
  linear.weight = scheme(weight);
  linear.scale_dtype = scales;
  if (!input.empty()) linear.activation = activation(input).codec;
  return linear;
}

TEST(ModelOpt, FilesDecodeToWhatWasEncoded) {
  for (const Kind& kind : kinds()) {
    for (const at::ScalarType scales : {at::kFloat, at::kBFloat16, at::kHalf}) {
      if (scales != at::kFloat && kind.weight != kInt4 && kind.weight != kInt8) continue;
      SCOPED_TRACE(kind.algorithm + " " + c10::toString(scales));
      const Result linear = make(kind, kLinear, scales);
      Export run("modelopt", kParams);
      run.add(linear);
      run.keep("model.layers.0.mlp.up_proj", at::randn({4, 4}).to(at::kBFloat16));
      run.finish();
      const Result back = must(run.decode(kLinear));
      EXPECT_EQ(digest(back), digest(linear));
      EXPECT_TRUE(at::equal(decode(back), decode(linear)));
      EXPECT_TRUE(absl::IsNotFound(run.decode("model.layers.0.mlp.up_proj").status()));
      EXPECT_EQ(block(run).str("quant_algo", ""), kind.algorithm);
      EXPECT_EQ(side_file(run)["quantization"].str("quant_algo", ""), kind.algorithm);
      EXPECT_EQ(side_file(run)["producer"].str("name", ""), "modelopt");
      EXPECT_TRUE(side_file(run)["quantization"].table()->count("kv_cache_quant_algo"));
      const Value floats = Value::List{"model.layers.0.mlp.up_proj", "lm_head"};
      EXPECT_EQ(side_file(run)["quantization"]["exclude_modules"], floats);
      EXPECT_EQ(block(run)["ignore"], floats);
    }
  }
}

// Rows of -8, 7 and -1, 3 are the bytes 78 and 3F.
TEST(ModelOpt, PacksTwoRowsOfIntegersIntoOne) {
  Result linear = quantized(kLinear, 2, 2, scheme(R"({"group": 2})"), at::kFloat);
  linear.set_part("codes", at::tensor({-8, -1, 7, 3}).to(at::kChar).view({2, 2}));
  Export run("modelopt", kParams);
  run.add(linear);
  run.finish();
  const at::Tensor bytes = must(run.files().read(std::string(kLinear) + ".weight"));
  EXPECT_THAT(bytes.sizes().vec(), ElementsAre(1, 2));
  EXPECT_EQ(bytes[0][0].item<int>(), 0x78);
  EXPECT_EQ(bytes[0][1].item<int>(), 0x3F);
  EXPECT_EQ(digest(must(run.decode(kLinear))), digest(linear));
}

// 0.5, -6, 1, -0, 2, 3, -1.5, 4 are F1 82 54 6B; weights up to 2: multiplier 2 / 2688, the scale of
// a group up to 1 is 224 (0x76).
TEST(ModelOpt, WritesNvfp4UnderMultipliers) {
  Linear floats;
  floats.name = kLinear;
  floats.weight = at::full({1, 32}, 1.0f);
  floats.weight[0][16] = 2.0f;
  Target target;
  target.codec = scheme(kNvfp4);
  Result linear = must(quant::quantize(floats, target));
  EXPECT_EQ(linear.part("outer_scales").item<float>(), 2.0f / 2688);
  EXPECT_EQ(linear.part("scales").view(at::kByte)[0][0].item<int>(), 0x76);
  at::Tensor codes = linear.part("codes").clone();
  codes.narrow(1, 0, 8).copy_(at::tensor({1, 15, 2, 8, 4, 5, 11, 6}).view({1, 8}));
  linear.set_part("codes", codes);
  linear.set_activation(activation(kNvfp4Inputs));
  Export run("modelopt", kParams);
  run.add(linear);
  run.finish();
  const std::string name = kLinear;
  EXPECT_THAT(run.files().names(), ElementsAre(name + ".input_scale", name + ".weight",
                                               name + ".weight_scale", name + ".weight_scale_2"));
  const at::Tensor bytes = must(run.files().read(name + ".weight"));
  const int expected[] = {0xF1, 0x82, 0x54, 0x6B};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(bytes[0][i].item<int>(), expected[i]);
  EXPECT_THAT(must(run.files().shape(name + ".weight_scale_2")), IsEmpty());
  EXPECT_EQ(must(run.files().read(name + ".input_scale")).item<float>(), 5.0f / 2688);
  const at::Tensor scale = must(run.files().read(name + ".weight_scale")).to(at::kFloat) *
                           must(run.files().read(name + ".weight_scale_2"));
  EXPECT_EQ(decode(linear)[0][1].item<float>(), (scale[0][0] * -6).to(at::kBFloat16).item<float>());
}

// Values are code times the scale of its block, its row or its 32 columns (2^(e - 127)).
TEST(ModelOpt, FurtherAlgorithmsAreStoredAsReadersLookForThem) {
  const std::string name = kLinear;
  const auto open = [&](const Kind& kind, Export* run) {
    const Result linear = make(kind);
    run->add(linear);
    run->finish();
    return decode(linear);
  };
  Export blocks("modelopt", kParams), mx("modelopt", kParams), rows("modelopt", kParams);
  const at::Tensor of_blocks = open(kinds()[6], &blocks), of_mx = open(kinds()[5], &mx),
                   of_rows = open(kinds()[7], &rows);
  const auto file = [&](const Export& run, const char* part) {
    return must(run.files().read(name + part));
  };
  at::Tensor scale = file(blocks, ".weight_scale");
  EXPECT_THAT(scale.sizes().vec(), ElementsAre(2, 1, 1, 1));
  const at::Tensor wide = scale.expand({2, 128, 1, 128}).reshape({256, 128});
  EXPECT_TRUE(at::equal(of_blocks, file(blocks, ".weight").to(at::kFloat) * wide));
  EXPECT_FALSE(blocks.files().has(name + ".input_scale"));
  EXPECT_EQ(to_json(block(blocks)["config_groups"]["group_0"], -1),
            R"({"quant_algo":"FP8_PB_WO","targets":["Linear"]})");

  scale = file(mx, ".weight_scale");
  EXPECT_EQ(scale.scalar_type(), at::kByte);
  EXPECT_THAT(scale.sizes().vec(), ElementsAre(46, 3));
  const at::Tensor powers = at::exp2(scale.to(at::kFloat) - 127).repeat_interleave(32, 1);
  EXPECT_TRUE(at::equal(of_mx, file(mx, ".weight").to(at::kFloat) * powers));
  EXPECT_EQ(side_file(mx)["quantization"]["group_size"], Value(32));

  scale = file(rows, ".weight_scale");
  EXPECT_EQ(file(rows, ".weight").scalar_type(), at::kChar);
  EXPECT_THAT(scale.sizes().vec(), ElementsAre(46));
  EXPECT_TRUE(at::equal(of_rows, file(rows, ".weight").to(at::kFloat) * scale.unsqueeze(1)));
  EXPECT_THAT(must(rows.files().shape(name + ".input_scale")), IsEmpty());
}

// What is served is what was measured: codes under the multiplier itself.
TEST(ModelOpt, ComputesWithTheMultiplierThatIsStored) {
  const Result linear = make(kinds()[3]);
  const at::Tensor outer = linear.part("outer_scales");
  const at::Tensor scales = linear.part("scales").to(at::kFloat) * outer;
  const at::Tensor wide = scales.repeat_interleave(16, 1);
  EXPECT_LE((decode(linear) / wide).abs().max().item<float>(), 6.05f);
  const at::Tensor x = at::rand({4, 96}) * 8 - 3;  // as calibration saw
  const at::Tensor seen = activation(kNvfp4Inputs).apply(x);
  EXPECT_LE((seen - x).abs().max().item<float>(), 5.0f / 6 + 0.1f);
  EXPECT_FALSE(at::equal(seen, x));
}

TEST(ModelOpt, MixesBySingleLinears) {
  Export run("modelopt", kParams);
  std::vector<Result> linears;
  for (size_t i = 0; i < kinds().size(); ++i)
    linears.push_back(make(kinds()[i], absl::StrCat("model.layers.", i, ".mlp.down_proj")));
  for (const Result& linear : linears) run.add(linear);
  run.finish();
  for (const Result& linear : linears)
    EXPECT_EQ(digest(must(run.decode(linear.name()))), digest(linear));
  for (const Value& said : {block(run), side_file(run)["quantization"]}) {
    EXPECT_EQ(said.str("quant_algo", ""), "MIXED_PRECISION");
    for (size_t i = 0; i < kinds().size(); ++i)
      EXPECT_EQ(said["quantized_layers"][linears[i].name()].str("quant_algo", ""),
                kinds()[i].algorithm);
  }
  EXPECT_EQ(block(run)["config_groups"].table()->size(), kinds().size());
  Value other = run.config();
  (*(*other.table())["quantization_config"].table())["quantized_layers"] = Value();
  EXPECT_THAT(
      std::string(run.exporter().decode(linears[0].name(), run.files(), other).status().message()),
      HasSubstr("a table of modules"));
}

TEST(ModelOpt, RefusesWhatItHasNoWordsFor) {
  for (const auto& [weight, input, why] : std::vector<std::array<std::string, 3>>{
           {R"({"format": "nvfp4"})", "", "tensor_scale = \"multiplies\" into the weight"},
           {kNvfp4, R"({"format": "nvfp4", "dynamic": false})", "into the activation scheme"},
           {kNvfp4, kToken, "its inputs are nvfp4"},
           {R"({"format": "nvfp4", "tensor_scale": "multiplies", "decoded": "fp16"})", "",
            "decoded = \"bf16\""},
           {R"({"bits": 8, "group": 16})", "", "4 bits"},
           {R"({"group": 16, "symmetric": false})", "", "symmetric"},
           {R"({"granularity": "channel"})", "", "in groups"},
           {kInt4, R"({"dynamic": true})", "write no activation"},
           {kInt8, R"({"bits": 8})", "dynamic = false"},
           {kInt8, "", "4 bits, symmetric, in groups"},
           {kMxfp8, "", "write activation = "},
           {kMxfp8, R"({"format": "mxfp8", "scale_rule": "ceil"})", "scale them by \"even\""},
           {R"({"format": "mxfp8", "element": "e5m2"})", kMxfp8Inputs, "elements are e4m3"},
           {kBlocks, "", "46 by 96 is no multiple of 128"},
           {R"({"format": "fp8-e4m3", "granularity": "block", "block_rows": 64})", "", "128 rows"},
           {R"({"group": 64})", "", "no multiple of 64"},
           {kTensor, "", "write activation = "},
           {kTensor, kToken, "a static one"},
           {kChannel, kStatic, "one for a token"},
           {kBlocks, kToken, "use = \"fp8\""},
           {R"({"format": "mxfp4"})", "", "no place for \"mxfp4\""}}) {
    SCOPED_TRACE(weight + " " + input);
    EXPECT_THAT(said({planned(kLinear, weight, input)}),
                testing::AllOf(HasSubstr(kLinear), HasSubstr(why)));
  }
  EXPECT_THAT(said({planned(kLinear, kChannel, kToken, at::kBFloat16)}),
              HasSubstr("scale_dtype = \"fp32\""));
  LinearSummary odd = planned(kLinear, kInt4, "");
  odd.out = 45;
  EXPECT_THAT(said({odd}), HasSubstr("packs two rows"));
  const std::string q = "model.layers.0.self_attn.q_proj", k = "model.layers.0.self_attn.k_proj";
  const char own[] = R"({"format": "nvfp4", "tensor_scale": "multiplies", "share": "none"})";
  EXPECT_THAT(said({planned(q, own, ""), planned(k, own, "")}), HasSubstr("share = \"fused\""));
  EXPECT_THAT(said({planned(q, kInt4, ""), planned(k, kNvfp4, "")}), HasSubstr("one matrix"));
  EXPECT_THAT(said({planned(q, kInt4, "", at::kHalf), planned(kLinear, kInt4, "")}),
              HasSubstr("one scale_dtype"));
  EXPECT_EQ(said({planned(q, kInt4, ""), planned(k, kInt4, ""), planned(kLinear, kNvfp4, "")}), "");
}

TEST(ModelOpt, DoesNotFitCompressedTensorsWhichDivides) {
  Export run("compressed-tensors", kParams);
  EXPECT_THAT(std::string(run.exporter().check({planned(kLinear, kNvfp4, "")}).message()),
              HasSubstr("tensor_scale = \"divides\""));
}

class ModelOptDamage : public ::testing::Test {
 protected:
  void open(const Kind& kind) {
    run_ = std::make_unique<Export>("modelopt", kParams);
    linear_ = make(kind);
    run_->add(linear_);
    run_->finish();
    restore();
  }
  void restore() {
    store_.tensors.clear();
    for (const std::string& name : run_->files().names())
      store_.tensors[name] = must(run_->files().read(name));
    config_ = run_->config();
  }
  absl::StatusOr<Result> read() { return run_->exporter().decode(kLinear, store_, config_); }
  void expect(const std::string& what) {
    EXPECT_THAT(std::string(read().status().message()), HasSubstr(what));
    restore();
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

TEST_F(ModelOptDamage, EveryTensorCounts) {
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.algorithm);
    open(kind);
    ASSERT_EQ(digest(must(read())), digest(linear_));
    for (const std::string& name : run_->files().names()) {
      const at::Tensor whole = store_.tensors[name];
      at::Tensor changed = whole.clone();
      changed.reshape({-1}).view(at::kByte).narrow(0, 0, 1).bitwise_xor_(4);
      store_.tensors[name] = changed;
      const auto back = read();
      EXPECT_TRUE(!back.ok() || digest(*back) != digest(linear_)) << name;
      store_.tensors[name] = at::ones({3}).to(whole.scalar_type());
      expect("expected");
      store_.tensors.erase(name);
      expect("is missing");
    }
    tensor("weight") = at::ones({46, 96});
    expect("expected");
  }
}

TEST_F(ModelOptDamage, EveryKeyCounts) {
  open(kinds()[2]);
  for (const char* other : {"FP8", "W4A16_NVFP4", "W4A16_AWQ"}) {
    key("quant_algo") = other;
    expect(kLinear);
  }
  key("quant_algo") = "W4A8_AWQ";
  expect("expected \"FP8\" or");
  key("group_size") = 32;
  expect("group_size is 32, expected 16");
  key("ignore") = Value::List{"model.layers.*.mlp*"};
  expect("floats");
  key("ignore") = Value::List{"*.up_proj", "model.layers.1"};
  EXPECT_EQ(digest(must(read())), digest(linear_));
  key("kv_cache_scheme") = Value::Table{{"num_bits", 8}};
  expect("keys and values");
  key("quant_method") = "fp8";
  expect("expected \"modelopt\"");
  open(kinds()[4]);
  key("group_size") = 32;
  expect("weight_scale is [46, 6], expected [46, 3]");
  key("group_size") = Value();
  expect("columns of a group");
  key("has_zero_point") = true;
  expect("two's complement");
  key("scale_dtype") = "int8";
  expect("a dtype of floats");
  key("scale_dtype") = "bfloat16";
  expect("is no number of bfloat16");
}

// Spellings of ModelOpt and scales as vLLM takes them, too.
TEST_F(ModelOptDamage, FurtherAlgorithmsAreReadInTheirSpellings) {
  open(kinds()[6]);
  key("quant_algo") = "fp8_pb_wo";
  tensor("weight_scale") = tensor("weight_scale").reshape({2, 1});
  EXPECT_EQ(digest(must(read())), digest(linear_));
  restore();
  key("quant_algo") = "fp8_pb_real";
  expect("quant_algo is \"fp8_pb_real\", expected");
  open(kinds()[5]);
  key("group_size") = Value();
  EXPECT_EQ(digest(must(read())), digest(linear_));
  key("group_size") = 16;
  expect("group_size is 16, expected 32");
  open(kinds()[7]);
  store_.tensors[std::string(kLinear) + ".pre_quant_scale"] = at::ones({96});
  expect("pre_quant_scale");
}

// AWQ's scales that were not folded into what comes before.
TEST_F(ModelOptDamage, ScalesOfInputsAreMultipliedIntoTheWeight) {
  open(kinds()[4]);
  const at::Tensor before = at::rand({96}) + 0.5;
  store_.tensors[std::string(kLinear) + ".pre_quant_scale"] = before;
  key("scale_dtype") = Value();
  EXPECT_TRUE(at::equal(decode(must(read())), decode(linear_) * before));
}

}  // namespace
}  // namespace swage
