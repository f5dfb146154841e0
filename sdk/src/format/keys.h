#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "swage/quant/scalar_codec.h"
#include "swage/value.h"

// What formats with a choice of granularity and of scale types read from their keys alike.
namespace swage::format {

// Rows and columns under one scale by "granularity": "tensor", "channel" or "token" (a row),
// "group" (`group` columns), "block" (`block_rows` x `block_columns`).
quant::ScalarLayout layout_of(const Value& keys, const char* default_granularity);
// " g64", " per channel", " 128x128 blocks" …
std::string extent_text(const Value& keys, const char* default_granularity);
// The dtype that "scale_dtype" names, else `open`.
at::ScalarType scale_type_of(const Value& keys, at::ScalarType open);
// The same of scales that are left open: the checkpoint's dtype, but fp32 where inputs are
// quantized too ("auto"), since engines then multiply by the scale behind the product.
at::ScalarType open_type_of(const Value& keys, at::ScalarType storage, bool quantized_input);
// What code x scale is rounded to, by "decoded"; bf16 where the keys do not say.
at::ScalarType decoded_type_of(const Value& keys);
// Keys of an activation scheme?
bool of_inputs(const Value& keys);
bool is_dynamic(const Value& keys);

}  // namespace swage::format
