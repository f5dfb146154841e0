// Positions along three axes.
#include <algorithm>

#include "nn/embedding_around.h"
#include "swage/nn/vision.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

class PlacedEmbedding final : public EmbeddingAround {
 public:
  using EmbeddingAround::EmbeddingAround;

  absl::Status embed(Slots& slots) override {
    SWAGE_RETURN_IF_ERROR(embedding_->embed(slots));
    if (!slots.has(kCells)) return absl::OkStatus();
    const at::Tensor cells = slots.take(kCells).to(at::kCPU).contiguous();
    at::Tensor places = at::empty_like(cells);
    const int64_t* cell = cells.const_data_ptr<int64_t>();
    int64_t* place = places.mutable_data_ptr<int64_t>();
    for (const int64_t length : slots.lengths) {
      lay_out(cell, length, place);
      cell += 3 * length;
      place += 3 * length;
    }
    slots[kPlaces] = places.to(slots.at(kHidden).device());
    return absl::OkStatus();
  }

 private:
  // An image begins where its cell is (0, 0, 0); what follows one stands behind its largest place.
  static void lay_out(const int64_t* cell, int64_t length, int64_t* place) {
    int64_t next = 0, start = 0;
    for (int64_t i = 0; i < length; ++i, cell += 3, place += 3) {
      if (cell[0] < 0) {
        std::fill(place, place + 3, next++);
        continue;
      }
      if (cell[0] == 0 && cell[1] == 0 && cell[2] == 0) start = next;
      for (int axis = 0; axis < 3; ++axis) place[axis] = start + cell[axis];
      next = std::max(next, *std::max_element(place, place + 3) + 1);
    }
  }
};

}  // namespace

std::unique_ptr<Embedding> with_places(std::unique_ptr<Embedding> embedding) {
  return std::make_unique<PlacedEmbedding>(std::move(embedding));
}

}  // namespace swage::nn
