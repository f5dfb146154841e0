// Tensors that come from others row by row, as plans of swage/io/gguf_architecture.h say.
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "swage/io/gguf.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr int64_t kPieceBytes = int64_t{16} << 20, kRowsAtATime = 1 << 16;

using Visit = std::function<absl::Status(const at::Tensor&)>;

// [n · a, b] as n matrices, each transposed: [n · b, a].
at::Tensor transposed(const at::Tensor& rows, int64_t count) {
  const int64_t height = rows.size(0) / count;
  return rows.view({count, height, rows.size(1)})
      .transpose(1, 2)
      .reshape({count * rows.size(1), height})
      .contiguous();
}

// Neighbours in the plan of one source are read together where they lie together.
class Pieces {
 public:
  Pieces(const GgufPlan& plan, const GgufRead& read) : plan_(plan), read_(read) {}

  absl::Status each(const Visit& visit) {
    for (size_t i = 0; i < plan_.rows.size();) {
      const size_t begin = i;
      int64_t count = 0;
      int64_t first = plan_.rows[i].begin, last = first;
      for (; i < plan_.rows.size() && plan_.rows[i].source == plan_.rows[begin].source; ++i) {
        const GgufRows& rows = plan_.rows[i];
        const int64_t low = std::min(first, rows.begin),
                      high = std::max(last, rows.begin + rows.count);
        // Rows between them that are not wanted would be read for nothing.
        if (i > begin && (high - low > 2 * (count + rows.count) || high - low > kRowsAtATime))
          break;
        count += rows.count;
        first = low;
        last = high;
      }
      SWAGE_RETURN_IF_ERROR(piece(begin, i, first, last, visit));
    }
    return absl::OkStatus();
  }

 private:
  // Entries [begin, end) of the plan, which lie in rows [first, last) of their source.
  absl::Status piece(size_t begin, size_t end, int64_t first, int64_t last, const Visit& visit) {
    const size_t source = plan_.rows[begin].source;
    if (end - begin == 1) return straight(source, first, last, visit);
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor rows, rows_of(source, first, last));
    std::vector<int64_t> order;
    for (size_t i = begin; i < end; ++i) {
      for (int64_t row = 0; row < plan_.rows[i].count; ++row)
        order.push_back(plan_.rows[i].begin + row - first);
    }
    return visit(rows.index_select(0, at::tensor(order, at::kLong)));
  }

  absl::Status straight(size_t source, int64_t first, int64_t last, const Visit& visit) {
    int64_t step = 1;
    for (int64_t row = first; row < last;) {
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor rows,
                             rows_of(source, row, std::min(last, row + step)));
      SWAGE_RETURN_IF_ERROR(visit(rows));
      row += rows.size(0);
      step = std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(1, rows.nbytes() / rows.size(0)));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<at::Tensor> rows_of(size_t source, int64_t begin, int64_t end) {
    const GgufSource& from = plan_.sources[source];
    if (from.transposed == 0) return read_(from.name, begin, end);
    if (whole_of_ != source || !whole_.defined()) {
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor rows, read_(from.name, 0, -1));
      if (rows.size(0) % from.transposed != 0)
        return absl::InvalidArgumentError(absl::StrCat(from.name, " has ", rows.size(0),
                                                       " rows for ", from.transposed, " matrices"));
      whole_ = transposed(rows, from.transposed);
      whole_of_ = source;
    }
    if (end > whole_.size(0))
      return absl::OutOfRangeError(
          absl::StrCat(from.name, " has ", whole_.size(0), " rows, expected ", end));
    return whole_.narrow(0, begin, end - begin);
  }

  const GgufPlan& plan_;
  const GgufRead& read_;
  size_t whole_of_ = 0;
  at::Tensor whole_;
};

}  // namespace

absl::Status each_piece(const GgufPlan& plan, const GgufRead& read, const Visit& visit) {
  for (const GgufRows& rows : plan.rows) {
    if (rows.source >= plan.sources.size() || rows.begin < 0 || rows.count < 1)
      return absl::InternalError(absl::StrCat("the plan of ", plan.name, " is damaged"));
  }
  if (plan.transposed == 0) {
    const int64_t width = plan.shape.size() > 1 ? plan.shape.back() : 1;
    return Pieces(plan, read).each([&](const at::Tensor& piece) {
      // Vectors that become rows, and rows that become vectors. Blocks have widths of their own.
      const bool other = piece.size(1) != width && (piece.size(1) == 1 || width == 1) &&
                         piece.numel() % width == 0;
      return visit(other ? piece.reshape({-1, width}) : piece);
    });
  }
  std::vector<at::Tensor> pieces;
  SWAGE_RETURN_IF_ERROR(Pieces(plan, read).each([&](const at::Tensor& piece) {
    pieces.push_back(piece);
    return absl::OkStatus();
  }));
  const at::Tensor rows = at::cat(pieces, 0);
  if (rows.size(0) % plan.transposed != 0)
    return absl::InvalidArgumentError(
        absl::StrCat(plan.name, " has ", rows.size(0), " rows for ", plan.transposed, " matrices"));
  return visit(transposed(rows, plan.transposed));
}

}  // namespace swage::io
