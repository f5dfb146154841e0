// Fails where `where` says: in its constructor, or in subset_transform with whatever can be thrown.
#include <c10/util/Exception.h>

#include <csignal>
#include <stdexcept>

#include "swage/plugin.h"

namespace {

class Thrower final : public swage::Algorithm {
 public:
  explicit Thrower(const swage::Params& params) : where_(params.text("where")) {
    if (where_ == "create") throw std::runtime_error("cannot be made");
    if (where_ == "memory") throw std::bad_alloc();
    if (where_ == "param") static_cast<void>(params.i64("missing"));
  }

  absl::Status subset_transform(swage::SubsetContext& subset) override {
    if (where_ == "later") {  // not in the first block
      if (subset.block().id().index == 0) return absl::OkStatus();
      throw std::out_of_range("row 7 of 5");
    }
    if (where_ == "std") throw std::out_of_range("row 7 of 5");
    if (where_ == "torch") TORCH_CHECK(false, "shapes differ");
    if (where_ == "int") throw 3;
    if (where_ == "segv") std::raise(SIGSEGV);  // a sanitizer would report a stray pointer first
    return absl::InvalidArgumentError("returned, not thrown");
  }

 private:
  std::string where_;
};

}  // namespace

SWAGE_ALGORITHM(Thrower, "thrower");
