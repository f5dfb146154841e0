// An algorithm that does nothing: what most of the broken plugins here are made of.
#include "swage/plugin.h"

namespace {

class Good final : public swage::Algorithm {
 public:
  explicit Good(const swage::Params& params)
      : tokens_(params.has("tokens") ? params.i64("tokens") : 5) {}
  swage::Needs needs() const override { return swage::Needs().sample(tokens_); }
  absl::Status subset_transform(swage::SubsetContext&) override { return absl::OkStatus(); }

 private:
  int64_t tokens_;
};

}  // namespace

SWAGE_ALGORITHM(Good, "good");
