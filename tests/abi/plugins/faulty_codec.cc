// Integers of 4 bits, and what `fault` names: a call that does not come back as it should, or an
// answer that is none.
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/match.h"
#include "swage/quant/scalar_codec.h"
#include "swage/register.h"
#include "tests/abi/plugins/ends.h"

namespace {

using namespace swage;
using quant::Level;
using quant::LevelStorage;
using quant::ScalarTable;

quant::ScalarLayout groups() {
  quant::ScalarLayout layout;
  layout.columns = 32;
  layout.code_bits = 4;
  return layout;
}

class FaultyCodec final : public quant::ScalarCodec {
 public:
  explicit FaultyCodec(const Params& params)
      : ScalarCodec(ScalarTable::integers(-8, 7), groups()), fault_(params.text("fault")) {
    fail_in("create");
  }

 private:
  void fail_in(const std::string& phase) const {
    if (absl::StartsWith(fault_, phase + ":")) ends::end(fault_.substr(phase.size() + 1));
  }

  std::string do_describe() const override { return "faulty"; }
  std::string do_form() const override {
    fail_in("form");
    return fault_ == "no form" ? "" : ScalarCodec::do_form();
  }

  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override {
    fail_in("fit");
    if (fault_ == "fit:refuses") return absl::InvalidArgumentError("no such weight");
    SWAGE_ASSIGN_OR_RETURN(Parts parts, ScalarCodec::do_fit(weight, request));
    if (fault_ == "undefined level") parts["scales"] = at::Tensor();
    if (fault_ == "nan scales") parts["scales"].fill_(std::numeric_limits<float>::quiet_NaN());
    if (fault_ == "short scales") parts["scales"] = parts["scales"].narrow(1, 0, 1);
    return parts;
  }
  Parts do_encode(const at::Tensor& weight, Parts levels) const override {
    fail_in("encode");
    Parts parts = ScalarCodec::do_encode(weight, std::move(levels));
    if (fault_ == "another part") parts["shifts"] = at::zeros({1});
    if (fault_ == "undefined codes") parts["codes"] = at::Tensor();
    if (fault_ == "short codes") parts["codes"] = parts["codes"].narrow(0, 0, 1);
    return parts;
  }
  at::Tensor do_decode(const Parts& parts, int64_t out, int64_t in) const override {
    fail_in("decode");
    const at::Tensor weight = ScalarCodec::do_decode(parts, out, in);
    if (fault_ == "short decoded") return weight.narrow(0, 0, 1);
    if (fault_ == "double decoded") return weight.to(at::kDouble);
    if (fault_ == "nan decoded") return weight / 0;
    return fault_ == "no decoded" ? at::Tensor() : weight;
  }
  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    fail_in("validate");
    return ScalarCodec::do_validate(parts, out, in);
  }
  double do_code_bits() const override {
    fail_in("code_bits");
    return fault_ == "negative bits" ? -4 : 4;
  }
  int64_t do_group_width(int64_t in) const override {
    return fault_ == "no width" ? 0 : ScalarCodec::do_group_width(in);
  }
  absl::StatusOr<quant::ScalarGrid> do_grid(const Parts& levels, int64_t out,
                                            int64_t in) const override {
    fail_in("grid");
    SWAGE_ASSIGN_OR_RETURN(quant::ScalarGrid grid, ScalarCodec::do_grid(levels, out, in));
    if (fault_ == "short grid") grid.scale = grid.scale.narrow(0, 0, 1);
    if (fault_ == "no table") grid.table = nullptr;
    return grid;
  }
  int64_t do_block_columns() const override { return absl::StartsWith(fault_, "block") ? 8 : 0; }
  RoundedBlock do_round_block(const at::Tensor& target, const Parts&, int64_t) const override {
    fail_in("block");
    return {target, target.narrow(0, 0, 1)};
  }

  Level<float> level(float low, float high, const LevelStorage& storage) const override {
    fail_in("level");
    return level_as(low, high, storage);
  }
  Level<double> level(double low, double high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
  template <class T>
  static Level<T> level_as(T low, T high, const LevelStorage& storage) {
    Level<T> level;
    level.scale = storage.round(std::max(std::max(std::abs(low), std::abs(high)) / 7, T(1e-4)));
    level.stored = level.scale;
    return level;
  }

  const std::string fault_;
};

}  // namespace

SWAGE_FORMAT(FaultyCodec, "faulty-codec");
