#pragma once
#include <memory>
#include <string>

#include "core/catalog/catalog.h"
#include "swage/call_site.h"

namespace swage {

// What plugin a component that is in use came from: known from the loader, said where a call of it
// goes wrong.
// `role`: as Loader::algorithm.
void remember_origin(const void* component, const Catalog::Found& found, const std::string& role);
void forget_origin(const void* component);

// "step \"gptq\", plugin swage.gptq 1.0.0, /…/gptq.swage.so"
std::string origin_text(const Catalog::Found& found, const std::string& role);

// A call of this component, under the name from its manifest.
CallSite site_of(const void* component, std::string phase);
// The same for an adapter, which others may stand in front of, by its name.
CallSite adapter_site(const std::string& adapter, std::string phase);

// What a plugin made, destroyed within its border, too.
template <class T>
std::shared_ptr<T> shared_inside(std::unique_ptr<T> made, CallSite site) {
  return std::shared_ptr<T>(made.release(), [site = std::move(site)](T* self) {
    call_plugin(site, [&] { return delete self, absl::OkStatus(); }).IgnoreError();
  });
}

}  // namespace swage
