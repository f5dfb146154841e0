#include "ranks.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage::trtllm {
namespace {

using Shape = std::vector<int64_t>;

constexpr char kEmbedding[] = "transformer.vocab_embedding.weight", kHead[] = "lm_head.weight",
               kSourceEmbedding[] = "model.embed_tokens.weight";

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

// The scale of a tensor has no axis at all.
int axis_of(const Place& place, const Shape& shape) {
  const bool one = shape.size() == 1 && absl::EndsWith(place.tensor, ".weights_scaling_factor");
  return one ? -1 : place.axis;
}

absl::Status check_axis(const std::string& name, const Shape& shape, int axis) {
  if (axis < static_cast<int>(shape.size())) return absl::OkStatus();
  return refused(absl::StrCat(name, " has ", shape.size(), " dimensions, expected ", axis + 1));
}

// There is no joining of fp8, but of bytes.
at::Tensor join(std::vector<at::Tensor> pieces, int axis) {
  if (pieces.size() == 1) return pieces.front().contiguous();
  const at::ScalarType type = pieces.front().scalar_type();
  if (c10::elementSize(type) > 1) return at::cat(pieces, axis).contiguous();
  for (at::Tensor& piece : pieces) piece = piece.contiguous().view(at::kByte);
  return at::cat(pieces, axis).contiguous().view(type);
}

class Rank final : public WeightSource {
 public:
  Rank(const WeightSource& whole, int64_t rank, int64_t ranks, std::map<std::string, Place> places)
      : whole_(whole), rank_(rank), ranks_(ranks) {
    for (auto& [name, place] : places) places_.emplace(name, std::move(place));
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (const auto& [name, place] : places_) all.push_back(name);
    return all;
  }
  bool has(std::string_view name) const override { return places_.count(name) > 0; }

  absl::StatusOr<Shape> shape(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const Place* const place, find(name));
    Shape all;
    for (const std::string& member : place->members) {
      SWAGE_ASSIGN_OR_RETURN(const Shape shape, whole_.shape(member));
      const int axis = axis_of(*place, shape);
      SWAGE_RETURN_IF_ERROR(check_axis(member, shape, axis));
      if (all.empty()) all = shape;
      if (axis < 0) return all;
      const size_t at = static_cast<size_t>(axis);
      if (shape[at] % ranks_ != 0)
        return refused(absl::StrCat(member, " has ", shape[at], " ",
                                    place->split == Split::kRows ? "rows" : "columns or groups",
                                    ", which ranks = ", ranks_, " does not divide"));
      all[at] = (&member == &place->members.front() ? 0 : all[at]) + shape[at] / ranks_;
    }
    return all;
  }
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const Place* const place, find(name));
    return whole_.dtype(place->members.front());
  }

  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const Place* const place, find(name));
    SWAGE_RETURN_IF_ERROR(shape(name).status());
    std::vector<at::Tensor> pieces;
    for (const std::string& member : place->members) {
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, whole_.read(member));
      const int axis = axis_of(*place, tensor.sizes().vec());
      if (axis < 0) {
        SWAGE_RETURN_IF_ERROR(check_copies(*place, tensor));
        return tensor;
      }
      const int64_t length = tensor.size(axis) / ranks_;
      pieces.push_back(tensor.narrow(axis, rank_ * length, length));
    }
    return join(std::move(pieces), place->axis);
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, read(name));
    return tensor.slice(0, begin, end);
  }

 private:
  absl::StatusOr<const Place*> find(std::string_view name) const {
    const auto found = places_.find(name);
    if (found != places_.end()) return &found->second;
    return absl::NotFoundError(std::string(name));
  }

  // What joined matrices have one of is the same for all.
  absl::Status check_copies(const Place& place, const at::Tensor& first) const {
    for (const std::string& member : place.members) {
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, whole_.read(member));
      if (!at::equal(tensor, first))
        return refused(absl::StrCat(member, " has another value than ", place.members.front(),
                                    ", and both become ", place.tensor,
                                    "; let one step with share = \"fused\" compress both"));
    }
    return absl::OkStatus();
  }

  const WeightSource& whole_;
  const int64_t rank_, ranks_;
  std::map<std::string, Place, std::less<>> places_;
};

class Joined final : public WeightSource {
 public:
  Joined(std::vector<std::unique_ptr<WeightSource>> ranks, const Model& model,
         std::vector<std::string> names)
      : ranks_(std::move(ranks)), model_(model), names_(std::move(names)) {}

  std::vector<std::string> names() const override { return names_; }
  bool has(std::string_view name) const override {
    return std::binary_search(names_.begin(), names_.end(), name);
  }

  absl::StatusOr<Shape> shape(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const Place place, find(name));
    SWAGE_ASSIGN_OR_RETURN(Shape shape, ranks_.front()->shape(place.tensor));
    const int axis = axis_of(place, shape);
    SWAGE_RETURN_IF_ERROR(check_axis(place.tensor, shape, axis));
    if (axis < 0) return shape;
    SWAGE_ASSIGN_OR_RETURN(const auto range,
                           range_of(place, name, shape[static_cast<size_t>(axis)]));
    shape[static_cast<size_t>(axis)] = range.second * static_cast<int64_t>(ranks_.size());
    return shape;
  }
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const Place place, find(name));
    return ranks_.front()->dtype(place.tensor);
  }

  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const Place place, find(name));
    std::vector<at::Tensor> pieces;
    for (const auto& rank : ranks_) {
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, rank->read(place.tensor));
      const int axis = axis_of(place, tensor.sizes().vec());
      SWAGE_RETURN_IF_ERROR(check_axis(place.tensor, tensor.sizes().vec(), axis));
      if (!pieces.empty() && (tensor.scalar_type() != pieces.front().scalar_type() ||
                              tensor.dim() != pieces.front().dim()))
        return refused(absl::StrCat(place.tensor, " is another kind of tensor on another rank"));
      if (axis < 0) {
        if (!pieces.empty() && !at::equal(tensor, pieces.front()))
          return refused(absl::StrCat(place.tensor, " has two values on two ranks"));
        pieces = {tensor};
        continue;
      }
      SWAGE_ASSIGN_OR_RETURN(const auto range, range_of(place, name, tensor.size(axis)));
      pieces.push_back(tensor.narrow(axis, range.first, range.second));
    }
    return join(std::move(pieces), place.axis);
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, read(name));
    return tensor.slice(0, begin, end);
  }

 private:
  absl::StatusOr<Place> find(std::string_view name) const {
    if (!has(name)) return absl::NotFoundError(std::string(name));
    return place_of(std::string(name), model_);
  }

  // Where a member begins in `length` entries of one rank, and how many are its own.
  static absl::StatusOr<std::pair<int64_t, int64_t>> range_of(const Place& place,
                                                              std::string_view name,
                                                              int64_t length) {
    if (place.split == Split::kColumns) return std::pair<int64_t, int64_t>(0, length);
    const int64_t all = std::accumulate(place.shares.begin(), place.shares.end(), int64_t{0});
    int64_t begin = 0;
    for (size_t i = 0; i < place.members.size(); ++i) {
      const int64_t product = length * place.shares[i];
      if (product % all != 0 || product == 0) break;
      if (place.members[i] == name) return std::pair(begin, product / all);
      begin += product / all;
    }
    return refused(absl::StrCat(place.tensor, " has ", length,
                                " rows on a rank, which are no share of each matrix in it"));
  }

  const std::vector<std::unique_ptr<WeightSource>> ranks_;
  const Model model_;
  const std::vector<std::string> names_;
};

absl::Status check_tied_head(const std::vector<std::unique_ptr<WeightSource>>& ranks) {
  constexpr int64_t kRows = 4096;
  int64_t first = 0;
  for (const auto& rank : ranks) {
    SWAGE_ASSIGN_OR_RETURN(const Shape shape, rank->shape(kHead));
    SWAGE_ASSIGN_OR_RETURN(const Shape whole, ranks.front()->shape(kEmbedding));
    const int64_t rows = shape.empty() ? 0 : shape[0];
    if (whole.empty() || first + rows > whole[0])
      return refused(absl::StrCat(kHead, " has more rows than ", kEmbedding));
    for (int64_t row = 0; row < rows; row += kRows) {
      const int64_t end = std::min(rows, row + kRows);
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor head, rank->read_rows(kHead, row, end));
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor embedding,
                             ranks.front()->read_rows(kEmbedding, first + row, first + end));
      if (!at::equal(head, embedding))
        return refused(absl::StrCat(kHead, " is no copy of ", kEmbedding,
                                    ", to which the model ties its head"));
    }
    first += rows;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> rank_of(const WeightSource& whole, const Model& model,
                                                      int64_t rank) {
  std::map<std::string, Place> places;
  for (const std::string& name : whole.names()) {
    SWAGE_ASSIGN_OR_RETURN(Place place, place_of(name, model));
    std::string tensor = place.tensor;
    places.emplace(std::move(tensor), std::move(place));
  }
  if (model.tied && !whole.has(kHead)) {
    SWAGE_ASSIGN_OR_RETURN(Place head, place_of(kHead, model));
    head.members = {kSourceEmbedding};
    places.emplace(kHead, std::move(head));
  }
  return std::make_unique<Rank>(whole, rank, model.ranks, std::move(places));
}

absl::StatusOr<std::unique_ptr<WeightSource>> joined(
    std::vector<std::unique_ptr<WeightSource>> ranks, const Model& model) {
  const std::vector<std::string> stored = ranks.front()->names();
  for (size_t i = 1; i < ranks.size(); ++i) {
    if (ranks[i]->names() != stored)
      return refused(absl::StrCat("rank", i, ".safetensors holds other tensors than rank0"));
  }
  std::vector<std::string> names;
  for (const std::string& tensor : stored) {
    if (tensor == kHead && model.tied) {
      SWAGE_RETURN_IF_ERROR(check_tied_head(ranks));
      continue;
    }
    const std::vector<std::string> sources = sources_of(tensor);
    if (sources.empty())
      return refused(absl::StrCat("rank0.safetensors holds ", tensor, ", which no Llama has"));
    names.insert(names.end(), sources.begin(), sources.end());
  }
  std::sort(names.begin(), names.end());
  return std::make_unique<Joined>(std::move(ranks), model, std::move(names));
}

}  // namespace swage::trtllm
