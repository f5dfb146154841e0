#pragma once
#include <optional>
#include <string>

#include "swage/model.h"
#include "swage/result.h"

namespace swage {

// One thing that an export must hold, as the run itself holds it: recorded before an exporter is
// asked to write it, so that nothing that the exporter says enters the comparison.
struct StoredItem {
  std::string name;  // of a linear, or of a tensor
  bool is_linear = false;
  std::string digest;  // of the result with all its parts; of the tensor in its storage dtype
  // Digests of the values in fp32 (of a linear: decoded), and of these rounded once; "": not taken.
  std::string values, as_bfloat16, as_half;
  std::string input;     // of a linear: what its input passes, "" = nothing
  std::string from_one;  // of a vector: what 1 + value keeps of the value in fp32, else ""
};

// Values are what an exporter is held to that need not give back every bit.
enum class Remember { kBits, kBitsAndValues };
StoredItem item_of(const Result& result, Remember what = Remember::kBitsAndValues);
StoredItem item_of(const Parameter& parameter, Remember what = Remember::kBitsAndValues);
StoredItem item_of(const std::string& name, const at::Tensor& tensor,
                   Remember what = Remember::kBitsAndValues);

// With tensors of its own: whoever has `result` may write into them.
Result own_copy(const Result& result);

// How something that was read back relates to what the run holds.
enum class Held {
  kBits,         // the same object, or the same values in another form
  kRounded,      // the values rounded once to bf16 or fp16, or 1 + value to fp32
  kFloatInputs,  // values as above; the quantization of the linear's input is left out
  kOther         // other values
};
Held compare(const StoredItem& item, const Result& read);
Held compare(const StoredItem& item, const at::Tensor& read);

}  // namespace swage
