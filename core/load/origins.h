#pragma once
#include <string>

#include "core/catalog/catalog.h"
#include "swage/call_site.h"

namespace swage {

// What plugin a component that is in use came from: known from the loader, said where a call of it
// goes wrong.
void remember_origin(const void* component, const Catalog::Found& found);
void forget_origin(const void* component);

// "plugin swage.gptq 1.0.0, /…/gptq.swage.so"
std::string origin_text(const Catalog::Found& found);

// A call of this component, under the name from its manifest. `step`: how the pipeline names what
// it is used as ("step \"gptq\""), may be empty.
CallSite site_of(const void* component, std::string phase, const std::string& step = "");
// The same for an adapter, which others may stand in front of, by its name.
CallSite adapter_site(const std::string& adapter, std::string phase);

}  // namespace swage
