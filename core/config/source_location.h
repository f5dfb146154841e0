#pragma once
#include <string>

namespace swage {

// A place in a pipeline file, for messages. line 0: the file as a whole, or a --set option.
struct SourceLocation {
  std::string file;
  int line = 0, column = 0;
  std::string text() const;  // "pipeline.toml:12:3"
};

}  // namespace swage
