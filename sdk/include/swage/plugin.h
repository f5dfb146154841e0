#pragma once
// All that a plugin's source may need: the four interfaces, operators of tensors, and the macros of
// swage/register.h. A source that computes nothing itself, as most model adapters, includes its
// interface and swage/register.h instead: a third of the time to compile.
//
//   class Gptq final : public swage::Algorithm { … };
//   SWAGE_ALGORITHM(Gptq, "gptq");
#include <ATen/TensorOperators.h>

#include "swage/algorithm.h"
#include "swage/evaluator.h"
#include "swage/exporter.h"
#include "swage/model.h"
#include "swage/register.h"
