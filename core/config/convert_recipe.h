#pragma once
#include <string>

namespace swage {

// `swage convert` as a pipeline: a run that starts from what a checkpoint holds.
struct ConvertRequest {
  std::string checkpoint, exporter, out, work, adapter;
  // Not empty: the scheme that all linears of blocks are rounded to, a format's name or the inside
  // of a table, "bits = 4, group = 32".
  std::string requantize;
  std::string text;  // not empty: perplexity is measured on it, and what is written verified by it
};
std::string convert_recipe(const ConvertRequest& request);

// A measurement of perplexity on a text, with the evaluator's own defaults.
std::string evaluation_recipe(const std::string& checkpoint, const std::string& text);

// "llama-w4" for out/llama-w4/ and out/llama-w4.gguf.
std::string name_of_checkpoint(const std::string& path);

}  // namespace swage
