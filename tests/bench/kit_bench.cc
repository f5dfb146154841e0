#include <ATen/ops/addmm.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>

#include "swage/product.h"
#include "swage/quant/scalar_grid.h"
#include "swage/result.h"
#include "swage/solve/column_sweep.h"
#include "swage/stats/accumulator.h"

// CPU time on one thread; rates count the arithmetic that is needed, or the weights.
namespace swage {
namespace {

using Format = std::shared_ptr<const Codec>;

Format format(const char* range = "minmax", const char* name = "int") {
  return *make_codec(Scheme{name, {{"granularity", "group"}, {"group", 64}, {"range", range}}});
}

FitRequest request() {
  FitRequest result;
  result.scale_dtype = at::kBFloat16;
  return result;
}

quant::ScalarGrid grid_of(const at::Tensor& weight, const Format& format) {
  return *format->grid(*format->fit(weight, request()), weight.size(0), weight.size(1));
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

void find_levels(benchmark::State& state, int64_t out, const Format& format) {
  const at::Tensor w = weight(out);
  for (auto _ : state) benchmark::DoNotOptimize(format->fit(w, request()));
  rate(state, "weights", static_cast<double>(w.numel()));
}
BENCHMARK_CAPTURE(find_levels, minmax, 1536, format())->Name("find_grid");
BENCHMARK_CAPTURE(find_levels, mse, 64, format("mse"))->Name("find_grid_mse");
BENCHMARK_CAPTURE(find_levels, weighted, 64, format("weighted"))->Name("find_grid_weighted");
BENCHMARK_CAPTURE(find_levels, fp8_mse, 64, format("mse", "fp8-e4m3"))->Name("find_grid_mse/fp8");

using OnGrid = at::Tensor(const at::Tensor&, const quant::ScalarGrid&);

void encode(benchmark::State& state, OnGrid* encode, const Format& format) {
  const at::Tensor w = weight();
  const quant::ScalarGrid grid = grid_of(w, format);
  for (auto _ : state) benchmark::DoNotOptimize(encode(w, grid));
  rate(state, "weights", static_cast<double>(w.numel()));
}
BENCHMARK_CAPTURE(encode, int, quant::encode_plain, format())->Name("encode/plain");
BENCHMARK_CAPTURE(encode, int, quant::encode, format())->Name("encode/fast");
BENCHMARK_CAPTURE(encode, fp8, quant::encode, format("minmax", "fp8-e4m3"))->Name("encode/fp8");

void decode(benchmark::State& state, OnGrid* decode, const Format& format) {
  const at::Tensor w = weight();
  const quant::ScalarGrid grid = grid_of(w, format);
  const at::Tensor codes = quant::encode(w, grid);
  for (auto _ : state) benchmark::DoNotOptimize(decode(codes, grid));
  rate(state, "weights", static_cast<double>(w.numel()));
}
BENCHMARK_CAPTURE(decode, int, quant::decode, format())->Name("decode/fast");
BENCHMARK_CAPTURE(decode, int, quant::decode_plain, format())->Name("decode/plain");
BENCHMARK_CAPTURE(decode, fp8, quant::decode, format("minmax", "fp8-e4m3"))->Name("decode/fp8");

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

template <at::Tensor (*kSweep)(const at::Tensor&, const solve::Factor&, const quant::ScalarGrid&,
                               const at::Tensor&, double*)>
void sweep(benchmark::State& state) {
  const at::Tensor w = weight(state.range(0), state.range(1));
  const solve::Factor factor =
      *solve::factorize(hessian(state.range(1)), 0.01, solve::Order::kActivation);
  const quant::ScalarGrid grid = grid_of(w, format());
  for (auto _ : state) benchmark::DoNotOptimize(kSweep(w, factor, grid, {}, nullptr));
  rate(state, "flop", 1.0 * state.range(0) * state.range(1) * state.range(1));
}
BENCHMARK_TEMPLATE(sweep, solve::sweep_codes_plain)->Name("column_sweep/plain")->Args({576, 576});
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
