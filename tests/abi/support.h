#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/base/exit_codes.h"
#include "core/catalog/catalog.h"
#include "core/load/loader.h"

namespace swage::testing_support {

namespace fs = std::filesystem;

// Folder of one plugin, made by tests.cmake.
inline std::string folder(const std::string& name) { return std::string(ABI_FOLDER) + "/" + name; }
inline std::string file(const std::string& name) { return folder(name) + "/" + name + ".swage.so"; }

// The catalog's entry for the only plugin of a folder.
inline PluginEntry entry(const std::string& name) {
  const Catalog catalog = Catalog::scan({folder(name)});
  // The formats that are built in come first.
  if (catalog.plugins().size() != 2) ADD_FAILURE() << folder(name) << " holds no single plugin";
  return catalog.plugins().size() < 2 ? PluginEntry() : catalog.plugins()[1];
}

inline Params where(const std::string& value) { return Params(Value::Table{{"where", value}}); }

// Opens the plugin and makes its algorithm; the status tells how that ended.
inline absl::StatusOr<std::shared_ptr<Algorithm>> make(const std::string& name,
                                                       const std::string& algorithm,
                                                       const Params& params = Params()) {
  const Catalog catalog = Catalog::scan({folder(name)});
  return Loader(catalog).algorithm(algorithm, params);
}

// The refusal of a plugin that the catalog takes and the loader does not.
inline std::string refusal(const std::string& name, const std::string& algorithm) {
  const auto made = make(name, algorithm);
  EXPECT_FALSE(made.ok());
  EXPECT_EQ(exit_code(made.status()), static_cast<int>(ExitCode::kPlugin));
  return std::string(made.status().message());
}

// Every test starts without memory of earlier probes.
class ProbeMemory : public testing::Environment {
 public:
  void SetUp() override {
    fs::remove_all(cache_);
    setenv("XDG_CACHE_HOME", cache_.c_str(), 1);
  }
  static inline const std::string cache_ = std::string(ABI_FOLDER) + "/cache";
};
inline testing::Environment* const kProbeMemory =
    testing::AddGlobalTestEnvironment(new ProbeMemory);

}  // namespace swage::testing_support
