#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/config/formats.h"
#include "core/serve/device_range.h"
#include "swage/value.h"

namespace swage {

// Values that keys of a scheme may have, "format" among them. A key that the scheme does not have,
// since its own condition does not hold there, fits.
using SchemeConditions = std::map<std::string, Value::List>;

// Where a linear belongs, as rules tell linears apart.
enum class ServedPlace { kLinear, kExpert, kHead, kEmbedding };
const char* name_of(ServedPlace place);

// One combination that an engine computes as it was measured.
struct AcceptRule {
  SchemeConditions weight;
  std::vector<SchemeConditions> activations;  // one of these; an empty one: inputs stay in floats
  std::vector<ServedPlace> places;
  std::vector<DeviceRange> devices;      // empty: any
  std::vector<std::string> scale_types;  // of the weight's scales; empty: any
  SchemeConditions joined;  // what else a weight needs that is computed as part of a joined matrix
  // Of the part of a joined matrix that one device computes.
  int64_t out_multiple = 1, in_multiple = 1;
};

// What an engine reads of the files of one exporter.
struct ExportRules {
  std::string use;
  std::string refused;      // not empty: why it reads none of them
  bool floats = false;      // everything in them is floats: schemes do not matter
  bool one_scheme = false;  // all compressed linears have one scheme
  bool whole = false;       // all linears of blocks but those in `never` are compressed
  bool act_order = false;   // groups may be scattered over the columns
  bool masks = false;
  bool transforms = false;        // of inputs, at run time
  bool transforms_alone = false;  // only where one device serves
  std::vector<AcceptRule> accepts;
  std::vector<SchemeConditions> kv;  // schemes of the cache of keys and values; empty: none
};

// How an engine shares linears out among devices, by globs over their names. All others are whole
// on every device.
struct SplitRules {
  std::vector<std::string> column, row;  // outputs are shared out, inputs are
  std::vector<std::string> kv;  // of `column`: keys and values, repeated where they are few
};

// An engine of one version: what it loads, as a file <name>.engine.toml says (docs/serving.md).
struct EngineProfile {
  std::string name;  // of the file
  std::string file;
  std::string engine, summary;     // as messages call it
  std::string family;              // of devices that are meant where none is named: "sm"; "": any
  std::vector<std::string> never;  // globs: linears that stay in floats
  std::vector<std::vector<std::string>> fused;  // last words of names beside each other
  std::string experts;  // the module whose numbered children are computed together
  // Which of them: those of a layer, those of one projection in a layer, or all of the model.
  enum class Experts { kLayer, kProjection, kModel } experts_by = Experts::kLayer;
  bool splits = false;  // does it tell of several devices?
  SplitRules split;
  std::vector<ExportRules> exports;

  const ExportRules* find(std::string_view use) const;
};

// Errors name file:line:column. With `formats` the keys and values of conditions must be such as
// the formats that they are about have; a format that is not known there is taken as it is.
absl::StatusOr<EngineProfile> parse_engine_profile(std::string_view toml, const std::string& name,
                                                   const std::string& origin,
                                                   const Formats* formats);

}  // namespace swage
