#pragma once
// The macros that register a class of a plugin, one per component, outside of any namespace:
//
//   class Llama final : public swage::nn::DecoderAdapter { … };
//   SWAGE_MODEL(Llama, "llama");
//
// The class is made from `const Params&`, or from nothing where it has no such constructor; a
// constructor that throws refuses its parameters. Its interface must be known: include it before.
// The plugin's descriptor, its manifest and its fingerprint note are made by swage_add_plugin().
#include <memory>
#include <type_traits>

#include "swage/abi.h"
#include "swage/border.h"
#include "swage/interfaces.h"
#include "swage/params.h"
#include "swage/status.h"

namespace swage::detail {

// The pointer that crosses is that of the interface class.
template <class Class, class Interface>
int32_t create(const swage_create_args* args, void** out, swage_error* error) noexcept {
  static_assert(std::is_base_of_v<Interface, Class>,
                "the class derives from the interface that it is registered for");
  const absl::Status status = guarded({}, [&] {
    std::unique_ptr<Interface> made;
    if constexpr (std::is_constructible_v<Class, const Params&>) {
      made = std::make_unique<Class>(*static_cast<const Params*>(args->params));
    } else {
      made = std::make_unique<Class>();
    }
    *out = made.release();
    return absl::OkStatus();
  });
  return to_error(status, error);
}

template <class Interface>
void destroy(void* self) {
  delete static_cast<Interface*>(self);
}

}  // namespace swage::detail

// The linker lays the pointers of all components of a plugin side by side; nothing runs when the
// file is opened.
#define SWAGE_COMPONENT_(Class, Interface, kind, iface, name)                               \
  namespace {                                                                               \
  const swage_component SWAGE_CONCAT_(swage_component_, __LINE__) = {                       \
      sizeof(swage_component),                                                              \
      kind,                                                                                 \
      name,                                                                                 \
      ::swage::iface,                                                                       \
      &::swage::detail::create<Class, ::swage::Interface>,                                  \
      &::swage::detail::destroy<::swage::Interface>};                                       \
  [[gnu::used, gnu::retain, gnu::section("swage_components")]] const swage_component* const \
      SWAGE_CONCAT_(swage_component_entry_, __LINE__) = &SWAGE_CONCAT_(swage_component_,    \
                                                                       __LINE__);           \
  }                                                                                         \
  static_assert(true, "")

#define SWAGE_MODEL(Class, name) \
  SWAGE_COMPONENT_(Class, ModelAdapter, "model", kModelInterface, name)
#define SWAGE_ALGORITHM(Class, name) \
  SWAGE_COMPONENT_(Class, Algorithm, "algorithm", kAlgorithmInterface, name)
#define SWAGE_EVALUATOR(Class, name) \
  SWAGE_COMPONENT_(Class, Evaluator, "evaluator", kEvaluatorInterface, name)
#define SWAGE_EXPORTER(Class, name) \
  SWAGE_COMPONENT_(Class, Exporter, "exporter", kExporterInterface, name)
#define SWAGE_FORMAT(Class, name) SWAGE_COMPONENT_(Class, Codec, "format", kFormatInterface, name)
