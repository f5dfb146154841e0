#include "core/load/origins.h"

#include <map>
#include <mutex>

#include "absl/strings/str_cat.h"

namespace swage {
namespace {

struct Origin {
  std::string component, text;
};

struct Origins {
  std::mutex mutex;
  std::map<const void*, Origin> by_component;
  std::map<std::string, std::string> of_adapters;
};

// Components may be destroyed by other statics.
Origins& origins() {
  static Origins* const all = new Origins;
  return *all;
}

}  // namespace

std::string origin_text(const Catalog::Found& found, const std::string& role) {
  const Manifest& manifest = found.plugin->manifest;
  return absl::StrCat(role, role.empty() ? "" : ", ", "plugin ", manifest.id, " ", manifest.version,
                      ", ", found.plugin->file);
}

void remember_origin(const void* component, const Catalog::Found& found, const std::string& role) {
  Origins& all = origins();
  const std::lock_guard lock(all.mutex);
  all.by_component[component] = {found.component->name, origin_text(found, role)};
  if (found.component->kind == "model")
    all.of_adapters[found.component->name] = origin_text(found, role);
}

void forget_origin(const void* component) {
  Origins& all = origins();
  const std::lock_guard lock(all.mutex);
  all.by_component.erase(component);
}

CallSite site_of(const void* component, std::string phase) {
  Origins& all = origins();
  const std::lock_guard lock(all.mutex);
  const auto found = all.by_component.find(component);
  if (found == all.by_component.end()) return {"a component", std::move(phase), ""};
  return {found->second.component, std::move(phase), found->second.text};
}

CallSite adapter_site(const std::string& adapter, std::string phase) {
  Origins& all = origins();
  const std::lock_guard lock(all.mutex);
  const auto found = all.of_adapters.find(adapter);
  return {adapter, std::move(phase), found == all.of_adapters.end() ? "" : found->second};
}

}  // namespace swage
