#include "core/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <memory>

namespace swage {
namespace {

spdlog::logger& logger() {
  // Never freed: destructors of other statics may still log.
  static spdlog::logger* const instance = [] {
    auto* made = new spdlog::logger("swage", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern(isatty(STDERR_FILENO) != 0 ? "%v" : "%Y-%m-%d %H:%M:%S %v");
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *instance;
}

spdlog::string_view_t view(std::string_view line) { return {line.data(), line.size()}; }

}  // namespace

void set_log_level(LogLevel lowest) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn, spdlog::level::err};
  logger().set_level(kLevels[static_cast<int>(lowest)]);
}

void log_debug(std::string_view line) { logger().log(spdlog::level::debug, view(line)); }
void log_info(std::string_view line) { logger().log(spdlog::level::info, view(line)); }
void log_warning(std::string_view line) { logger().warn("warning: {}", view(line)); }
void log_error(std::string_view line) { logger().error("error: {}", view(line)); }

}  // namespace swage
