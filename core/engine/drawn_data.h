#pragma once
#include <string>
#include <vector>

#include "core/engine/sequence_set.h"
#include "core/engine/sequence_source.h"

namespace swage {

// What a calibration or an evaluation asked for, and what its source gave.
struct DrawnData {
  std::string name;  // "calibration", or the evaluation's
  std::string source, kind;
  int64_t asked_windows = 0, asked_length = 0;  // 0: no number was asked for
  int64_t windows = 0, tokens = 0, shortest = 0, longest = 0;
  int64_t pictured = 0, repeated = 0, single = 0, beyond_context = 0;  // windows of that kind
  int64_t context_length = 0;                                          // of the model; 0: unknown
  std::string digest;                                                  // of ids and pictures
  std::vector<std::string> remarks;                                    // about the source

  // Fills in what the sequences tell.
  void count(const SequenceSet& sequences, const ModelShape& model);
};

// "calibration: 3 windows of 64 tokens, 192 tokens (text c.txt)"
std::string text_of(const DrawnData& data);
// What a user should know: fewer windows or tokens than asked for, windows of a single token,
// longer than the model's context, the same as others; and what the source gave to remark.
std::vector<std::string> remarks_on(const DrawnData& data);
Value to_value(const DrawnData& data);

}  // namespace swage
