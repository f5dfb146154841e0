#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "core/cli/arguments.h"

namespace swage {

const char* command_version();  // "swage 1.0.0"

// The options of every verb, bound to one set of arguments: the one description from which the
// command line is read, and help, completion and the manual are made.
class CommandLine {
 public:
  explicit CommandLine(Arguments* arguments);
  CLI::App& app() { return app_; }
  const std::string& work() const { return work_; }

 private:
  CLI::App& verb(const std::string& name);
  void target(CLI::App& verb, const char* name, const char* help);
  void number(CLI::App& verb, const char* name, std::optional<int64_t>* value, int64_t most,
              const char* help);
  void threads(CLI::App& verb);
  void micro_batch(CLI::App& verb);
  void quiet(CLI::App& verb);
  void events(CLI::App& verb);
  void sets(CLI::App& verb);
  void text(CLI::App& verb, const char* help);
  void work(CLI::App& verb);
  void overwrite(CLI::App& verb);
  void json(CLI::App& verb);
  void adapter(CLI::App& verb);
  void add_pipeline_verbs();
  void add_work_verbs();
  void add_model_verbs();
  void add_reading_verbs();

  Arguments& arguments_;
  std::string work_;
  CLI::App app_{"Compresses large language models."};
};

}  // namespace swage
