#include <ATen/ops/equal.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swage/store/fp8_form.h"
#include "swage/store/fused_members.h"
#include "swage/store/row_pairs.h"

namespace swage::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Extent = Fp8Form::Extent;

std::shared_ptr<const Codec> codec(const Value::Table& keys,
                                   const std::string& format = "fp8-e4m3") {
  Scheme scheme;
  scheme.format = format;
  scheme.keys = keys;
  auto made = make_codec(scheme);
  EXPECT_TRUE(made.ok()) << made.status();
  return *made;
}

TEST(Fp8Form, IsThatOfTheCodecThatItMakes) {
  for (const Fp8Form& form :
       {Fp8Form{Extent::kTensor}, Fp8Form{Extent::kChannel}, Fp8Form{Extent::kBlock, 3, 5}}) {
    const auto made = fp8_codec(form);
    ASSERT_TRUE(made.ok());
    const auto read = fp8_form(**made);
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->extent, form.extent);
    EXPECT_EQ(read->rows, form.rows);
    EXPECT_EQ(read->columns, form.columns);
  }
  EXPECT_THAT(std::string(fp8_form(*codec({{"granularity", "group"}})).status().message()),
              HasSubstr("group"));
  EXPECT_FALSE(fp8_form(*codec({}, "fp8-e5m2")).ok());
}

TEST(Fp8Form, OfInputsIsThatOfTheCodecThatItMakes) {
  for (const Fp8Input& input : {Fp8Input{true, 0}, Fp8Input{true, 64}, Fp8Input{false, 0}}) {
    const auto made = fp8_input_codec(input);
    ASSERT_TRUE(made.ok()) << made.status();
    const auto read = fp8_input(**made);
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->dynamic, input.dynamic);
    EXPECT_EQ(read->group, input.group);
    EXPECT_EQ((*made)->input_levels(-1, 1).empty(), input.dynamic);
  }
  EXPECT_FALSE(fp8_input(*codec({{"dynamic", true}, {"granularity", "tensor"}})).ok());
}

TEST(RowPairs, HoldTheUpperRowInTheLowHalf) {
  const at::Tensor codes = at::tensor({-8, -1, 7, 3}).to(at::kChar).view({2, 2});
  const at::Tensor bytes = pack_row_pairs(codes);
  EXPECT_TRUE(at::equal(bytes, at::tensor({0x78, 0x3F}).to(at::kByte).view({1, 2})));
  const at::Tensor other = at::randint(-8, 8, {10, 7}, at::kChar);
  EXPECT_TRUE(at::equal(unpack_row_pairs(pack_row_pairs(other)), other));
}

LinearSummary linear(const std::string& name, std::shared_ptr<const Codec> weight) {
  LinearSummary made;
  made.name = name;
  made.weight = std::move(weight);
  if (made.weight == nullptr) made.kept_by = "keep";
  return made;
}

TEST(FusedMembers, AreToldByName) {
  const auto own = codec({{"granularity", "tensor"}}),
             shared = codec({{"granularity", "tensor"}, {"share", "fused"}});
  std::vector<LinearSummary> all;
  for (const char* name : {"a.v_proj", "a.o_proj", "a.q_proj", "a.k_proj", "b.q_proj", "e.0.w3",
                           "e.0.w1", "e.0.w2", "e.1.w1"})
    all.push_back(linear(name, shared));
  std::vector<std::string> names;
  for (const auto& members : fused_members(all)) {
    for (const LinearSummary* member : members) names.push_back(member->name);
  }
  EXPECT_THAT(names, ElementsAre("a.q_proj", "a.k_proj", "a.v_proj", "e.0.w1", "e.0.w3"));
  EXPECT_TRUE(check_members_alike(all).ok());
  EXPECT_TRUE(check_members_share(all).ok());
  all[3].weight = own;  // the same files, but a scale of its own
  EXPECT_TRUE(check_members_alike(all).ok());
  EXPECT_THAT(std::string(check_members_share(all).message()), HasSubstr("a.k_proj"));
  all[3] = linear("a.k_proj", nullptr);
  EXPECT_THAT(std::string(check_members_alike(all).message()),
              HasSubstr("a.k_proj is kept in floats"));
}

}  // namespace
}  // namespace swage::store
