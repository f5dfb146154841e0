#include "core/load/loader.h"

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/load/library.h"
#include "swage/border.h"
#include "swage/status.h"

namespace swage {
namespace {

absl::StatusOr<void*> create(const swage_component& component, const Params& params) {
  swage_create_args args = {};
  args.struct_size = sizeof args;
  args.params = &params;
  swage_error error = {};
  error.struct_size = sizeof error;
  void* made = nullptr;
  SWAGE_RETURN_IF_ERROR(guarded({component.name, "create"}, [&] {
    const int32_t code = component.create(&args, &made, &error);
    return code == 0 && made == nullptr
               ? absl::InternalError("made nothing and reported no error, a bug of the plugin")
               : from_error(code, &error);
  }));
  return made;
}

}  // namespace

template <class Interface>
absl::StatusOr<std::shared_ptr<Interface>> Loader::make(const char* kind, const std::string& name,
                                                        const Params& params) {
  SWAGE_ASSIGN_OR_RETURN(const Catalog::Found found, catalog_.find(kind, name));
  absl::StatusOr<const swage_plugin*> plugin = open_plugin(*found.plugin);
  if (!plugin.ok())
    return with_exit_code(annotate(plugin.status(), found.plugin->file), ExitCode::kPlugin);
  // open_plugin() found every component of the manifest.
  const swage_component& component = *find_component(**plugin, *found.component);
  absl::StatusOr<void*> made = create(component, params);
  if (!made.ok()) return with_exit_code(made.status(), ExitCode::kPlugin);
  const auto destroy = component.destroy;
  return std::shared_ptr<Interface>(static_cast<Interface*>(*made),
                                    [destroy](Interface* self) { destroy(self); });
}

absl::StatusOr<std::shared_ptr<Algorithm>> Loader::algorithm(const std::string& name,
                                                             const Params& params) {
  return make<Algorithm>("algorithm", name, params);
}

absl::StatusOr<std::shared_ptr<Evaluator>> Loader::evaluator(const std::string& name,
                                                             const Params& params) {
  return make<Evaluator>("evaluator", name, params);
}

absl::StatusOr<std::shared_ptr<Exporter>> Loader::exporter(const std::string& name,
                                                           const Params& params) {
  return make<Exporter>("exporter", name, params);
}

absl::StatusOr<std::shared_ptr<ModelAdapter>> Loader::model(const std::string& name) {
  return make<ModelAdapter>("model", name, Params());
}

void Loader::shutdown() { shutdown_plugins(); }

}  // namespace swage
