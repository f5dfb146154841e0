#include <ATen/Parallel.h>
#include <ATen/ops/randint.h>
#include <benchmark/benchmark.h>

#include "swage/store/packing.h"

namespace swage::store {
namespace {

at::Tensor codes(int bits) {
  at::set_num_threads(1);
  const int64_t low = -(int64_t{1} << (bits - 1));
  return at::randint(low, -low, {1536, 1536}, at::kChar);
}

void rate(benchmark::State& state, const at::Tensor& weights) {
  state.counters["weights"] = benchmark::Counter(
      static_cast<double>(weights.numel()) * static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate);
}

template <at::Tensor (*kPack)(const at::Tensor&, int)>
void pack_codes(benchmark::State& state) {
  const auto bits = static_cast<int>(state.range(0));
  const at::Tensor q = codes(bits);
  for (auto _ : state) benchmark::DoNotOptimize(kPack(q, bits));
  rate(state, q);
}
BENCHMARK_TEMPLATE(pack_codes, pack_reference)->Name("pack/plain")->Arg(4);
BENCHMARK_TEMPLATE(pack_codes, pack)->Name("pack/fast")->Arg(3)->Arg(4)->Arg(8);

template <at::Tensor (*kUnpack)(const at::Tensor&, int, int64_t)>
void unpack_codes(benchmark::State& state) {
  const auto bits = static_cast<int>(state.range(0));
  const at::Tensor q = codes(bits), words = pack(q, bits);
  for (auto _ : state) benchmark::DoNotOptimize(kUnpack(words, bits, q.size(1)));
  rate(state, q);
}
BENCHMARK_TEMPLATE(unpack_codes, unpack_reference)->Name("unpack/plain")->Arg(4);
BENCHMARK_TEMPLATE(unpack_codes, unpack)->Name("unpack/fast")->Arg(3)->Arg(4)->Arg(8);

}  // namespace
}  // namespace swage::store
