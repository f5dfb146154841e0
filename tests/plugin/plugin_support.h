#pragma once
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "core/catalog/catalog.h"
#include "core/load/loader.h"
#include "swage/io/checkpoint.h"
#include "swage/io/safetensors.h"

namespace swage::testing_support {

// What the launcher sets before it starts the engine.
inline const int kRepeatableProducts = setenv("MKL_CBWR", "AUTO,STRICT", 0);

// The plugins of this build, beside the test program.
inline const Catalog& built_plugins() {
  static const Catalog catalog = Catalog::scan(plugin_search_path({}, {}));
  return catalog;
}

inline Loader& loader() {
  static Loader loader(built_plugins());
  return loader;
}

template <class T>
T must(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::runtime_error(std::string(value.status().message()));
  return *std::move(value);
}

inline std::filesystem::path test_data() {
  const char* source = std::getenv("SWAGE_SOURCE_DIR");
  const std::filesystem::path root =
      source != nullptr ? source : std::filesystem::path(__FILE__).parent_path() / "../..";
  return root / "tests" / "data";
}

}  // namespace swage::testing_support
