#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/io/checkpoint.h"
#include "swage/io/safetensors_header.h"

namespace swage {

// A compressed checkpoint as an adapter would see it, from its headers: `X.weight` of the linears
// that `reader` decodes, in place of what the decoding reads, and every other tensor as it is.
struct DecodedHeader {
  io::Header header;
  std::map<std::string, LinearSummary> linears;  // that decode, and to what
  std::vector<std::string> faults;               // linears that do not decode, and why
  std::set<std::string> reported;                // their weights, which are not in the header
  bool plugin_failed = false;                    // one of them by a fault of the reader
};

// Small tensors are read, since they may say how large others are; zeros stand for all else.
// Linears whose names differ in numbers alone and whose tensors are alike are decoded once.
// `linears`: globs of the adapter's manifest.
absl::StatusOr<DecodedHeader> decoded_header(const io::Checkpoint& checkpoint, Exporter& reader,
                                             const std::vector<std::string>& linears,
                                             const io::Header& stored);

}  // namespace swage
