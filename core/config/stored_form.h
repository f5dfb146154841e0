#pragma once
#include <string>
#include <vector>

#include "core/catalog/catalog.h"
#include "swage/io/safetensors_header.h"
#include "swage/value.h"

namespace swage {

// In what form a checkpoint holds its weights, told by config.json and the tensors' names and
// dtypes. Checkpoints in fp8 with scales, as they are published, count as floats (swage/io/fp8.h).
struct StoredForm {
  bool compressed = false;
  // Of compressed ones: quantization_config.quant_method, where it is a text, or that of the
  // exporter that knows its checkpoints otherwise.
  std::string method;
  std::string name;     // "GPTQ (quant_method \"gptq\", 4 bits)"
  std::string problem;  // why a run cannot start from it, and what to do; "" for floats
};
// `signs`: Catalog::form_signs().
StoredForm stored_form(const Value& config, const io::Header& header,
                       const std::vector<Catalog::FormSign>& signs = {});

}  // namespace swage
