#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"

// How llama.cpp cuts text before byte-level BPE, by the name in "tokenizer.ggml.pre".
namespace swage::io {

struct GgufCutter {
  const char* name;
  bool digits = false;                     // every digit alone, before anything else
  std::vector<const char*> patterns = {};  // of Split, one after the other
  bool byte_level_pattern = false;         // then GPT-2's
  bool whole_words = false;                // a word of the vocabulary needs no merges
  std::vector<const char*> families = {};  // model types that take this name among equals
};

// Null when llama.cpp has no such name, or none that is known here.
const GgufCutter* gguf_cutter(const std::string& name);
Value pre_tokenizer_of(const GgufCutter& cutter);
// The name for a tokenizer.json. Unimplemented: a pre-tokenizer that llama.cpp does not have.
absl::StatusOr<const GgufCutter*> gguf_cutter_of(const Value& tokenizer, const std::string& family);

}  // namespace swage::io
