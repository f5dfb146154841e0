#include <cstdint>

#include "text/sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const auto model = swage::text::read_sentencepiece({reinterpret_cast<const char*>(bytes), size});
  if (model.ok()) swage::text::tokenizer_of(*model, swage::Value::Table()).status().IgnoreError();
  return 0;
}
