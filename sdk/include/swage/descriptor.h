#pragma once
// What swage_add_plugin() makes of a manifest: two ELF notes that a host reads without running the
// file, and the one exported symbol. Only the generated source includes this header.
#include <cstdint>

#include "swage/abi.h"
#include "swage/fingerprint.h"

namespace swage::detail {

// An ELF note as it lies in the file; owner and text are padded to four bytes.
template <size_t kSize>
struct Note {
  uint32_t owner_size, size, type;
  char owner[8];
  char text[(kSize + 3) / 4 * 4];
};

}  // namespace swage::detail

// The linker collects what SWAGE_ALGORITHM and its like put into this section. Weak: a plugin
// without any still links and is then refused by name.
extern "C" {
extern const swage_component* const __start_swage_components[]
    __attribute__((weak, visibility("hidden")));
extern const swage_component* const __stop_swage_components[]
    __attribute__((weak, visibility("hidden")));
}

#define SWAGE_NOTE_(name, type, literal)                           \
  [[gnu::used, gnu::retain, gnu::section(".note.swage"),           \
    gnu::aligned(4)]] const ::swage::detail::Note<sizeof(literal)> \
      name = {sizeof(SWAGE_NOTE_OWNER), sizeof(literal), type, SWAGE_NOTE_OWNER, literal}

#define SWAGE_PLUGIN_DESCRIPTOR(id, version, manifest)                                   \
  namespace {                                                                            \
  SWAGE_NOTE_(swage_fingerprint, SWAGE_NOTE_FINGERPRINT, SWAGE_FINGERPRINT);             \
  SWAGE_NOTE_(swage_manifest, SWAGE_NOTE_MANIFEST, manifest);                            \
  }                                                                                      \
  extern "C" __attribute__((visibility("default"))) const swage_plugin* swage_plugin_v1( \
      const swage_host_info* host) {                                                     \
    static const swage_plugin plugin = {                                                 \
        sizeof(swage_plugin),                                                            \
        SWAGE_ABI_MAJOR,                                                                 \
        SWAGE_ABI_MINOR,                                                                 \
        SWAGE_FINGERPRINT,                                                               \
        id,                                                                              \
        version,                                                                         \
        __start_swage_components,                                                        \
        static_cast<uint32_t>(__stop_swage_components - __start_swage_components),       \
        nullptr};                                                                        \
    return host->abi_major == SWAGE_ABI_MAJOR ? &plugin : nullptr;                       \
  }                                                                                      \
  static_assert(true, "")
