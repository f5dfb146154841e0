#include <algorithm>
#include <cmath>

#include "quant/kernels.h"
#include "solve/sweep_tile.h"

namespace swage::solve {

template <class T>
void sweep_tile_plain(const SweepTile<T>& t) {
  for (int64_t c = 0; c < t.columns; ++c) {
    const T* factor = t.factor + c * t.columns;
    for (int64_t row = 0; row < t.rows; ++row) {
      T carry = t.carry[c * t.stride + row];
      for (int64_t k = 0; k < c; ++k) carry += t.weight[k * t.stride + row] * factor[k];
      T& weight = t.weight[c * t.stride + row];
      if (t.cross) {
        for (int64_t k = 0; k < c; ++k)
          weight += t.targets[k * t.stride + row] * t.cross[c * t.columns + k];
      }
      const T compensated = weight + carry / factor[c];
      if (t.targets) t.targets[c * t.stride + row] = compensated;
      quant::RowGrid<T> grid;
      grid.table = t.table;
      grid.scales = t.scales + t.group[c] * t.stride + row;
      grid.zeros = t.zeros + t.group[c] * t.stride + row;
      if (t.offsets) grid.offsets = t.offsets + t.group[c] * t.stride + row;
      grid.width = 1;
      grid.storage = t.storage;
      uint8_t& code = t.codes[c * t.stride + row];
      T value;
      quant::plain::encode_row<T>(&compensated, 1, grid, &code);
      quant::plain::decode_row<T>(&code, 1, grid, &value);
      if (t.keep && t.keep[c * t.stride + row] == 0) value = 0;
      const T step = (compensated - value) * factor[c];
      t.loss[row] += step * step;
      weight -= value;
    }
  }
}

template void sweep_tile_plain(const SweepTile<float>&);
template void sweep_tile_plain(const SweepTile<double>&);

}  // namespace swage::solve
