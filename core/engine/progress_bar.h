#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "swage/value.h"

namespace swage {

// What a progress bar shows, and its text. Nothing here looks at a terminal or a clock.
struct Progress {
  std::string phase;            // "compress"
  int64_t total = 0, done = 0;  // units of this phase, those of an earlier process included
  double fraction = 0;          // of the current unit
  std::string what;             // "gptq: attention.input"
  double seconds_left = -1;     // below 0: not known yet
  int64_t bytes = 0;            // memory of the process
};

// One line of at most `width` columns:
//   compress  ━━━━━━━━────────  12/30  gptq: attention.input  1m 03s left  612 MB
// A narrow terminal shortens what is worked on, then goes without it, then without the bar.
std::string bar_line(const Progress& progress, int width);

// What is left when `worked` units (a fraction of the current one included) took `seconds`; below 0
// while that is too little to tell.
double seconds_left(double seconds, double worked, double left);

// "1.9 s", "12 s", "1m 03s", "2h 05m", "3d 04h".
std::string duration_text(double seconds);

// Columns of UTF-8 text, a code point each, and its beginning in at most `width` columns: "gptq:
// at…".
int columns(std::string_view text);
std::string shortened(const std::string& text, int width);

// {"time":"2026-11-27T02:19:28.123Z","event":name, …figures}, without a line end. `milliseconds`
// since 1970, UTC.
std::string event_line(int64_t milliseconds, const std::string& name, const Value& figures);

// Numbers, words and flags of a table as people read them: "bits 4, error 0.0123".
std::string figures_text(const Value& figures);

}  // namespace swage
