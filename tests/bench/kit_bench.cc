#include <ATen/ops/addmm.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>

#include "swage/product.h"
#include "swage/quant/quantizer.h"
#include "swage/solve/column_sweep.h"
#include "swage/stats/accumulator.h"

// CPU time on one thread; rates count the arithmetic that is needed, or the weights.
namespace swage {
namespace {

WeightScheme scheme() {
  WeightScheme result;
  result.group_size = 64;
  return result;
}

at::Tensor weight(int64_t out = 1536, int64_t in = 1536) {
  at::set_num_threads(1);
  return at::randn({out, in});
}

at::Tensor hessian(int64_t in) {
  const at::Tensor x = weight(2 * in, in);
  return x.t().mm(x);
}

void rate(benchmark::State& state, const char* name, double per_iteration) {
  state.counters[name] = benchmark::Counter(per_iteration * static_cast<double>(state.iterations()),
                                            benchmark::Counter::kIsRate);
}

void find_grid(benchmark::State& state) {
  const at::Tensor w = weight();
  for (auto _ : state) benchmark::DoNotOptimize(quant::find_grid(w, scheme(), at::kBFloat16));
  rate(state, "weights", static_cast<double>(w.numel()));
}
BENCHMARK(find_grid);

void find_grid_mse(benchmark::State& state) {
  const at::Tensor w = weight(64);
  WeightScheme mse = scheme();
  mse.range = RangeRule::kMse;
  for (auto _ : state) benchmark::DoNotOptimize(quant::find_grid(w, mse, at::kBFloat16));
  rate(state, "weights", static_cast<double>(w.numel()));
}
BENCHMARK(find_grid_mse);

template <at::Tensor (*kEncode)(const at::Tensor&, const quant::Grid&)>
void encode(benchmark::State& state) {
  const at::Tensor w = weight();
  const quant::Grid grid = *quant::find_grid(w, scheme(), at::kBFloat16);
  for (auto _ : state) benchmark::DoNotOptimize(kEncode(w, grid));
  rate(state, "weights", static_cast<double>(w.numel()));
}
BENCHMARK_TEMPLATE(encode, quant::encode_reference)->Name("encode/plain");
BENCHMARK_TEMPLATE(encode, quant::encode)->Name("encode/fast");

void decode_fast(benchmark::State& state) {
  const at::Tensor w = weight();
  const quant::Grid grid = *quant::find_grid(w, scheme(), at::kBFloat16);
  const at::Tensor codes = quant::encode(w, grid);
  for (auto _ : state) benchmark::DoNotOptimize(quant::decode(codes, grid));
  rate(state, "weights", static_cast<double>(w.numel()));
}
BENCHMARK(decode_fast)->Name("decode/fast");

void decode_with_tensors(benchmark::State& state) {
  const at::Tensor w = weight();
  const quant::Grid grid = *quant::find_grid(w, scheme(), at::kBFloat16);
  const at::Tensor codes = quant::encode(w, grid).view({1536, -1, 64});
  for (auto _ : state) {
    benchmark::DoNotOptimize((codes.to(at::kFloat) * grid.scales.to(at::kFloat).unsqueeze(2))
                                 .to(at::kBFloat16)
                                 .to(at::kFloat));
  }
  rate(state, "weights", static_cast<double>(w.numel()));
}
BENCHMARK(decode_with_tensors)->Name("decode/plain");

void digest_codes(benchmark::State& state) {
  const at::Tensor codes = weight().to(at::kChar);
  for (auto _ : state) benchmark::DoNotOptimize(digest(codes));
  rate(state, "weights", static_cast<double>(codes.numel()));
}
BENCHMARK(digest_codes)->Name("digest");

void gram_plain(benchmark::State& state) {
  const at::Tensor x = weight(512, state.range(0));
  at::Tensor sum = at::zeros({state.range(0), state.range(0)});
  for (auto _ : state) sum.addmm_(x.t(), x);
  rate(state, "useful_flop", 512.0 * state.range(0) * (state.range(0) + 1));
}
BENCHMARK(gram_plain)->Name("gram/plain")->Arg(576)->Arg(1536);

void gram_fast(benchmark::State& state) {
  const at::Tensor x = weight(512, state.range(0));
  at::Tensor sum = at::zeros({state.range(0), state.range(0)});
  for (auto _ : state) stats::add_gram_upper(sum, x);
  rate(state, "useful_flop", 512.0 * state.range(0) * (state.range(0) + 1));
}
BENCHMARK(gram_fast)->Name("gram/fast")->Arg(576)->Arg(1536);

void factor_lapack(benchmark::State& state) {
  const at::Tensor h = hessian(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(at::linalg_cholesky(h));
  rate(state, "flop", std::pow(state.range(0), 3) / 3);
}
BENCHMARK(factor_lapack)->Name("factor/lapack")->Arg(576)->Arg(1536);

void factor_fast(benchmark::State& state) {
  const at::Tensor h = hessian(state.range(0));
  for (auto _ : state)
    benchmark::DoNotOptimize(solve::factorize(h, 0.01, solve::Order::kActivation));
  rate(state, "flop", std::pow(state.range(0), 3) / 3);
}
BENCHMARK(factor_fast)->Name("factor/fast")->Arg(576)->Arg(1536);

template <at::Tensor (*kSweep)(const at::Tensor&, const solve::Factor&, const quant::Grid&,
                               double*)>
void sweep(benchmark::State& state) {
  const at::Tensor w = weight(state.range(0), state.range(1));
  const solve::Factor factor =
      *solve::factorize(hessian(state.range(1)), 0.01, solve::Order::kActivation);
  const quant::Grid grid = *quant::find_grid(w, scheme(), at::kBFloat16);
  for (auto _ : state) benchmark::DoNotOptimize(kSweep(w, factor, grid, nullptr));
  rate(state, "flop", 1.0 * state.range(0) * state.range(1) * state.range(1));
}
BENCHMARK_TEMPLATE(sweep, solve::sweep_codes_reference)
    ->Name("column_sweep/plain")
    ->Args({576, 576});
BENCHMARK_TEMPLATE(sweep, solve::sweep_codes)
    ->Name("column_sweep/fast")
    ->Args({576, 576})
    ->Args({1536, 576})
    ->Args({576, 1536});

void linear_aten(benchmark::State& state) {
  const at::Tensor x = weight(state.range(0), state.range(1)),
                   w = weight(state.range(2), state.range(1));
  for (auto _ : state) benchmark::DoNotOptimize(at::mm(x, w.t()));
  rate(state, "flop", 2.0 * state.range(0) * state.range(1) * state.range(2));
}
BENCHMARK(linear_aten)->Name("product/aten")->Args({2048, 576, 1536})->Args({2048, 1536, 576});

void linear_fast(benchmark::State& state) {
  const at::Tensor x = weight(state.range(0), state.range(1)),
                   w = weight(state.range(2), state.range(1));
  for (auto _ : state) benchmark::DoNotOptimize(product(x, w.t()));
  rate(state, "flop", 2.0 * state.range(0) * state.range(1) * state.range(2));
}
BENCHMARK(linear_fast)
    ->Name("product/fast")
    ->Args({512, 576, 576})
    ->Args({2048, 576, 1536})
    ->Args({2048, 1536, 576});

}  // namespace
}  // namespace swage
