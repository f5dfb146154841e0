// The vectorised loops over rows against those that are written to be read, on every instruction
// set of this machine.
#include "quant/kernels.h"

#include <c10/core/ScalarType.h>
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <cstring>

#include "swage/quant/scalar_codec.h"
#include "tests/kit/format_support.h"

namespace swage::test {
namespace {

using quant::RowGrid;
using quant::ScalarTable;

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Tables of all scalar formats.
std::vector<std::pair<std::string, ScalarTable::Pointer>> tables() {
  std::vector<std::pair<std::string, ScalarTable::Pointer>> all;
  for (const Scheme& scheme : weight_schemes()) {
    const auto codec = codec_of(scheme);
    if (const auto* scalar = dynamic_cast<const quant::ScalarCodec*>(codec.get()))
      all.emplace_back(text_of(scheme), ScalarTable::Pointer(codec, &scalar->table()));
  }
  return all;
}

struct Row {
  std::vector<float> values, importance, scales, zeros, offsets;
};

Row row_of(const ScalarTable& table, int64_t columns, int64_t width) {
  Generator random(static_cast<uint32_t>(columns * 31 + width));
  Row row;
  for (int64_t c = 0; c < columns; ++c) {
    row.values.push_back(static_cast<float>(random.normal()));
    row.importance.push_back(static_cast<float>(random.uniform()));
  }
  for (int64_t g = 0; g * width < columns; ++g) {
    row.scales.push_back(static_cast<float>((random.uniform() + 0.1) * 3) / table.greatest());
    row.zeros.push_back(static_cast<float>(random.normal()));
    row.offsets.push_back(static_cast<float>(random.normal() / 4));
  }
  return row;
}

void expect_same(const std::string& what, const ScalarTable& table, int64_t columns,
                 const RowGrid<float>& grid, const Row& row, std::vector<float>* costs) {
  const float* x = row.values.data();
  std::vector<uint8_t> codes(columns), plain_codes(columns);
  quant::encode_row<float>(x, columns, grid, codes.data());
  quant::plain::encode_row(x, columns, grid, plain_codes.data());
  EXPECT_TRUE(same(codes, plain_codes)) << what;
  std::vector<float> values(columns), plain_values(columns);
  quant::decode_row<float>(codes.data(), columns, grid, values.data());
  quant::plain::decode_row(codes.data(), columns, grid, plain_values.data());
  EXPECT_TRUE(same(values, plain_values)) << what;
  // Sums are taken in another order.
  for (const float* importance : {row.importance.data(), static_cast<const float*>(nullptr)}) {
    const float cost = quant::weighted_cost<float>(x, importance, columns, grid);
    const float plain = quant::plain::weighted_cost(x, importance, columns, grid);
    EXPECT_NEAR(cost, plain, 1e-5 * plain + 1e-12) << what;
    costs->push_back(cost);
  }
  const float cost = quant::power_cost<float>(x, columns, grid, 2.4f);
  const float plain = quant::plain::power_cost(x, columns, grid, 2.4f);
  EXPECT_NEAR(cost, plain, 5e-4 * plain + 1e-12) << what;
  costs->push_back(cost);
}

// All costs, whose sums are taken in one order everywhere.
std::vector<float> expect_kernels() {
  std::vector<float> costs;
  for (const auto& [name, table] : tables()) {
    const bool integers = table->kind() == ScalarTable::Kind::kIntegers;
    for (const int64_t columns : {1, 3, 8, 17, 64, 77}) {
      for (const int64_t width : {int64_t{5}, int64_t{16}, columns}) {
        const Row row = row_of(*table, columns, width);
        for (const auto storage :
             {c10::ScalarType::Float, c10::ScalarType::BFloat16, c10::ScalarType::Half}) {
          RowGrid<float> grid;
          grid.table = table.get();
          grid.scales = row.scales.data();
          grid.width = width;
          grid.storage = storage;
          const std::string what = absl::StrCat(name, " ", columns, " by ", width);
          expect_same(what, *table, columns, grid, row, &costs);
          grid.offsets = row.offsets.data();
          expect_same(what + " with offsets", *table, columns, grid, row, &costs);
          if (!integers) continue;
          grid.zeros = row.zeros.data();
          expect_same(what + " with both", *table, columns, grid, row, &costs);
          grid.offsets = nullptr;
          expect_same(what + " with zeros", *table, columns, grid, row, &costs);
        }
      }
    }
  }
  return costs;
}

TEST(Kernels, GiveTheBitsOfThePlainLoopsOnEveryInstructionSet) {
  std::vector<float> costs;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    const std::vector<float> here = expect_kernels();
    if (costs.empty()) costs = here;
    EXPECT_TRUE(same(here, costs));
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_FALSE(costs.empty());
}

TEST(Kernels, FindTheEndsOfEveryGroupAndWhatIsNotFinite) {
  for (const int64_t columns : {1, 5, 16, 33}) {
    for (const int64_t width : {int64_t{3}, int64_t{8}, columns}) {
      Row row = row_of(*ScalarTable::integers(-8, 7), columns, width);
      const size_t groups = row.scales.size();
      std::vector<float> low(groups), high(groups), plain_low(groups), plain_high(groups);
      const auto both = [&] {
        const bool finite =
            quant::row_ranges<float>(row.values.data(), columns, width, low.data(), high.data());
        EXPECT_EQ(quant::plain::row_ranges(row.values.data(), columns, width, plain_low.data(),
                                           plain_high.data()),
                  finite);
        return finite;
      };
      EXPECT_TRUE(both());
      EXPECT_TRUE(same(low, plain_low));
      EXPECT_TRUE(same(high, plain_high));
      for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
        Row broken = row;
        std::swap(row, broken);
        row.values.back() = bad;
        EXPECT_FALSE(both()) << columns;
        std::swap(row, broken);
      }
    }
  }
}

}  // namespace
}  // namespace swage::test
