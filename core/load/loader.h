#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/catalog/catalog.h"
#include "swage/plugin.h"

namespace swage {

// Opens plugins (Boost.DLL, RTLD_NOW | RTLD_LOCAL, never closed) and makes their components. The
// catalog has already read notes and manifests; a plugin is opened when its first component is
// made, after its descriptor was found to agree with its manifest. Errors name the file, what was
// found and the remedy, and carry the exit code of plugins.
class Loader {
 public:
  // Makes the number formats of the catalog's plugins known to make_codec() as well.
  explicit Loader(const Catalog& catalog);

  // `role`: how the pipeline names what it is made for ("step \"gptq\""), for messages.
  absl::StatusOr<std::shared_ptr<Algorithm>> algorithm(const std::string& name,
                                                       const Params& params,
                                                       const std::string& role = "");
  absl::StatusOr<std::shared_ptr<Evaluator>> evaluator(const std::string& name,
                                                       const Params& params,
                                                       const std::string& role = "");
  absl::StatusOr<std::shared_ptr<Exporter>> exporter(const std::string& name, const Params& params,
                                                     const std::string& role = "");
  absl::StatusOr<std::shared_ptr<ModelAdapter>> model(const std::string& name);

  // Tells every opened plugin that the process ends, the last opened first. Once, after the last
  // component is gone. The first fault of a plugin in a destructor or in its shutdown.
  static absl::Status shutdown();

 private:
  template <class Interface>
  absl::StatusOr<std::shared_ptr<Interface>> make(const char* kind, const std::string& name,
                                                  const Params& params, const std::string& role);

  const Catalog& catalog_;
};

}  // namespace swage
