#include "swage/store/row_pairs.h"

#include <ATen/ops/stack.h>

namespace swage::store {

at::Tensor pack_row_pairs(const at::Tensor& codes) {
  const at::Tensor rows =
      codes.bitwise_and(15).to(at::kByte).contiguous().view({-1, 2, codes.size(1)});
  return rows.select(1, 0).bitwise_or(rows.select(1, 1).bitwise_left_shift(4)).contiguous();
}

at::Tensor unpack_row_pairs(const at::Tensor& bytes) {
  const at::Tensor unsigned_codes =
      at::stack({bytes.bitwise_and(15), bytes.bitwise_right_shift(4)}, 1).view({-1, bytes.size(1)});
  return unsigned_codes.bitwise_xor(8).to(at::kChar).sub(8);
}

}  // namespace swage::store
