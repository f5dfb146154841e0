#pragma once
#include <string_view>

namespace swage {

// Lines for people on stderr. On a terminal they are bare text; in a log file each starts with the
// time. Threads may log at once. Numbers that programs read go to events and result.json, not here.
enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Lines below `lowest` are dropped. kInfo is the default; --quiet is kWarning.
void set_log_level(LogLevel lowest);

void log_debug(std::string_view line);
void log_info(std::string_view line);
void log_warning(std::string_view line);  // starts with "warning: "
void log_error(std::string_view line);    // starts with "error: "

}  // namespace swage
