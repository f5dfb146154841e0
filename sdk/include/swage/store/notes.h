#pragma once
#include <functional>
#include <string>
#include <vector>

#include "swage/export.h"
#include "swage/exporter.h"
#include "swage/value.h"

// What a run knows of its linears and the words of a format do not say, such as whether zero points
// in the middle stand for a symmetric scheme. It lies under a key of quantization_config that other
// readers ignore: {"common": {…}, "others": {"model.layers.0.mlp.up_proj": {…}}}.
namespace swage::store {

inline constexpr char kNotesKey[] = "swage";

// `common` is what most of them have.
SWAGE_API Value notes_of(const std::vector<LinearSummary>& linears,
                         const std::function<Value::Table(const LinearSummary&)>& note);
// The note of one linear; null where there is none, as in checkpoints of others.
SWAGE_API const Value& note_for(const Value& quantization_config, const std::string& linear);

}  // namespace swage::store
