#include "core/load/loader.h"

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/load/library.h"
#include "core/load/origins.h"
#include "swage/border.h"
#include "swage/call_site.h"
#include "swage/status.h"

namespace swage {
namespace {

absl::StatusOr<void*> create(const swage_component& component, const Params& params,
                             const std::string& origin) {
  swage_create_args args = {};
  args.struct_size = sizeof args;
  args.params = &params;
  swage_error error = {};
  error.struct_size = sizeof error;
  void* made = nullptr;
  SWAGE_RETURN_IF_ERROR(call_plugin({component.name, "create", origin}, [&] {
    const int32_t code = component.create(&args, &made, &error);
    return code == 0 && made == nullptr
               ? absl::InternalError("made nothing and reported no error, a bug of the plugin")
               : from_error(code, &error);
  }));
  return made;
}

// Of destructors. Only the thread of the sweep lets go of components.
absl::Status& late_fault() {
  static absl::Status* const fault = new absl::Status;
  return *fault;
}

}  // namespace

template <class Interface>
absl::StatusOr<std::shared_ptr<Interface>> Loader::make(const char* kind, const std::string& name,
                                                        const Params& params,
                                                        const std::string& role) {
  SWAGE_ASSIGN_OR_RETURN(const Catalog::Found found, catalog_.find(kind, name));
  absl::StatusOr<const swage_plugin*> plugin = open_plugin(*found.plugin);
  if (!plugin.ok())
    return with_exit_code(annotate(plugin.status(), found.plugin->file), ExitCode::kPlugin);
  // open_plugin() found every component of the manifest.
  const swage_component& component = *find_component(**plugin, *found.component);
  absl::StatusOr<void*> made = create(component, params, origin_text(found, role));
  if (!made.ok()) return with_exit_code(made.status(), ExitCode::kPlugin);
  remember_origin(*made, found, role);
  const auto destroy = component.destroy;
  return std::shared_ptr<Interface>(static_cast<Interface*>(*made), [destroy](Interface* self) {
    // Nobody waits for a status where a pointer goes: kept until the process ends.
    late_fault().Update(
        call_plugin(site_of(self, "destructor"), [&] { return destroy(self), absl::OkStatus(); }));
    forget_origin(self);
  });
}

absl::StatusOr<std::shared_ptr<Algorithm>> Loader::algorithm(const std::string& name,
                                                             const Params& params,
                                                             const std::string& role) {
  return make<Algorithm>("algorithm", name, params, role);
}

absl::StatusOr<std::shared_ptr<Evaluator>> Loader::evaluator(const std::string& name,
                                                             const Params& params,
                                                             const std::string& role) {
  return make<Evaluator>("evaluator", name, params, role);
}

absl::StatusOr<std::shared_ptr<Exporter>> Loader::exporter(const std::string& name,
                                                           const Params& params,
                                                           const std::string& role) {
  return make<Exporter>("exporter", name, params, role);
}

absl::StatusOr<std::shared_ptr<ModelAdapter>> Loader::model(const std::string& name) {
  return make<ModelAdapter>("model", name, Params(), "");
}

namespace {

// What making a codec of a plugin needs; lives as long as the process, as its plugin does.
struct ForeignFormat {
  PluginEntry plugin;
  ComponentManifest component;
};

absl::StatusOr<std::unique_ptr<Codec>> make_foreign(const ForeignFormat& format,
                                                    const Params& params) {
  absl::StatusOr<const swage_plugin*> plugin = open_plugin(format.plugin);
  if (!plugin.ok())
    return with_exit_code(annotate(plugin.status(), format.plugin.file), ExitCode::kPlugin);
  const Catalog::Found found{&format.plugin, &format.component};
  const swage_component& component = *find_component(**plugin, format.component);
  absl::StatusOr<void*> made = create(component, params, origin_text(found, "a scheme"));
  if (!made.ok()) return with_exit_code(made.status(), ExitCode::kPlugin);
  return std::unique_ptr<Codec>(static_cast<Codec*>(*made));
}

}  // namespace

Loader::Loader(const Catalog& catalog) : catalog_(catalog) {
  for (const Catalog::Found& found : catalog_.components("format")) {
    if (found.plugin->file.empty()) continue;  // built in
    register_format(
        found.component->name,
        [format = ForeignFormat{*found.plugin, *found.component}](const Params& params) {
          return make_foreign(format, params);
        },
        origin_text(found, ""));
  }
}

absl::Status Loader::shutdown() {
  absl::Status status = late_fault();
  status.Update(shutdown_plugins());
  return with_exit_code(std::move(status), ExitCode::kPlugin);
}

}  // namespace swage
