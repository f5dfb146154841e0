#pragma once
// What swage_add_plugin() makes of a manifest: two ELF notes that a host reads without running the
// file, and the one exported symbol. Only the generated source includes this header.
#include <cstdint>

#include "swage/abi.h"
#include "swage/fingerprint.h"
#include "swage/layout.h"

namespace swage::detail {

// An ELF note as it lies in the file; owner and text are padded to four bytes.
template <size_t kSize>
struct Note {
  uint32_t owner_size, size, type;
  char owner[8];
  char text[(kSize + 3) / 4 * 4];
};

// Note 1: the fingerprint with the layout of this file's own classes.
template <size_t kSize>
constexpr Note<kSize> fingerprint_note(const FingerprintText<kSize>& fingerprint) {
  Note<kSize> note = {
      sizeof(SWAGE_NOTE_OWNER), kSize, SWAGE_NOTE_FINGERPRINT, SWAGE_NOTE_OWNER, {}};
  for (size_t i = 0; i < kSize; ++i) note.text[i] = fingerprint.bytes[i];
  return note;
}

}  // namespace swage::detail

// The linker collects what SWAGE_ALGORITHM and its like put into this section. Weak: a plugin
// without any still links and is then refused by name.
extern "C" {
extern const swage_component* const __start_swage_components[]
    __attribute__((weak, visibility("hidden")));
extern const swage_component* const __stop_swage_components[]
    __attribute__((weak, visibility("hidden")));
}

#define SWAGE_NOTE_SECTION_ [[gnu::used, gnu::retain, gnu::section(".note.swage"), gnu::aligned(4)]]
#define SWAGE_MANIFEST_NOTE_(name, literal)                                 \
  SWAGE_NOTE_SECTION_ const ::swage::detail::Note<sizeof(literal)> name = { \
      sizeof(SWAGE_NOTE_OWNER), sizeof(literal), SWAGE_NOTE_MANIFEST, SWAGE_NOTE_OWNER, literal}
// `name` is the text beside the note.
#define SWAGE_FINGERPRINT_NOTE_(name)                                    \
  constexpr auto name = ::swage::detail::with_layout(SWAGE_FINGERPRINT); \
  SWAGE_NOTE_SECTION_ constexpr auto SWAGE_CONCAT_NAME_(name, _note) =   \
      ::swage::detail::fingerprint_note(name)
#define SWAGE_CONCAT_NAME_(a, b) a##b

#define SWAGE_PLUGIN_DESCRIPTOR(id, version, manifest)                                   \
  namespace {                                                                            \
  SWAGE_FINGERPRINT_NOTE_(swage_fingerprint);                                            \
  SWAGE_MANIFEST_NOTE_(swage_manifest, manifest);                                        \
  }                                                                                      \
  extern "C" __attribute__((visibility("default"))) const swage_plugin* swage_plugin_v1( \
      const swage_host_info* host) {                                                     \
    static const swage_plugin plugin = {                                                 \
        sizeof(swage_plugin),                                                            \
        SWAGE_ABI_MAJOR,                                                                 \
        SWAGE_ABI_MINOR,                                                                 \
        swage_fingerprint.bytes,                                                         \
        id,                                                                              \
        version,                                                                         \
        __start_swage_components,                                                        \
        static_cast<uint32_t>(__stop_swage_components - __start_swage_components),       \
        nullptr};                                                                        \
    return host->abi_major == SWAGE_ABI_MAJOR ? &plugin : nullptr;                       \
  }                                                                                      \
  static_assert(true, "")
