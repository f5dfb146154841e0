#pragma once
// What a plugin's source includes: the four interfaces and the macros that register a class.
//
//   class Gptq final : public swage::Algorithm { … };
//   SWAGE_ALGORITHM(Gptq, "gptq");
//
// One macro per component; the plugin's descriptor, its manifest and its fingerprint note are made by swage_add_plugin().
#include "swage/abi.h"
#include "swage/algorithm.h"
#include "swage/evaluator.h"
#include "swage/exporter.h"
#include "swage/model.h"
#include "swage/params.h"
#include "swage/status.h"
