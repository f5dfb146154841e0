#include <benchmark/benchmark.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "swage/text/tokenizer.h"

// The tokenizer of SWAGE_TEST_MODEL on the WikiText-2 test file of SWAGE_TEST_DATA, CPU time on one
// thread.
namespace swage::text {
namespace {

std::string read(const char* variable, const char* file) {
  const char* folder = std::getenv(variable);
  std::ifstream stream(std::string(folder == nullptr ? "" : folder) + file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// `piece` bytes at a time: pieces seen before cost nothing within one call only.
void encode_text(benchmark::State& state) {
  const auto tokenizer = Tokenizer::create(read("SWAGE_TEST_MODEL", "/tokenizer.json"), "");
  const std::string text = read("SWAGE_TEST_DATA", "/wikitext-2/wiki.test.tokens");
  if (!tokenizer.ok() || text.empty()) {
    state.SkipWithError("SWAGE_TEST_MODEL and SWAGE_TEST_DATA are not set");
    return;
  }
  const std::string piece = text.substr(0, static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize((*tokenizer)->encode(piece, false));
  state.SetBytesProcessed(static_cast<int64_t>(piece.size()) * state.iterations());
}
BENCHMARK(encode_text)->Arg(1 << 12)->Arg(1 << 30)->Unit(benchmark::kMillisecond);

void create_tokenizer(benchmark::State& state) {
  const std::string file = read("SWAGE_TEST_MODEL", "/tokenizer.json");
  if (file.empty()) {
    state.SkipWithError("SWAGE_TEST_MODEL is not set");
    return;
  }
  for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::create(file, ""));
}
BENCHMARK(create_tokenizer)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace swage::text
