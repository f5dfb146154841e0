// A plugin as it was built with version 1.0 of the handshake, which a host refuses by name: nothing
// of today's abi.h, plugin.h or descriptor.h is included. Only the interface class and the rest of
// the fingerprint are of today, since they change with every build anyway.
#include "swage/algorithm.h"
#include "swage/fingerprint.h"
#include "tests/abi/v1_frozen/abi.h"

namespace {

class Frozen final : public swage::Algorithm {
 public:
  swage::Needs needs() const override { return swage::Needs().sample(17); }
  absl::Status subset_transform(swage::SubsetContext&) override { return absl::OkStatus(); }
};

int32_t create(const swage_create_args* args, void** out, swage_error* error) {
  if (args->struct_size < sizeof(swage_create_args) || error->struct_size < sizeof(swage_error))
    return 13;
  *out = static_cast<swage::Algorithm*>(new Frozen);
  return 0;
}

void destroy(void* self) { delete static_cast<swage::Algorithm*>(self); }

const swage_component component = {sizeof(swage_component), "algorithm", "frozen",
                                   "algorithm/1",           create,      destroy};
const swage_component* const components[] = {&component};
const swage_plugin plugin = {sizeof(swage_plugin),
                             SWAGE_ABI_MAJOR,
                             SWAGE_ABI_MINOR,
                             SWAGE_FINGERPRINT,
                             "frozen",
                             "1.0.0",
                             components,
                             1,
                             nullptr};

#define MANIFEST                                                                         \
  "id = \"frozen\"\nversion = \"1.0.0\"\nsummary = \"Built with 1.0.\"\n[[component]]\n" \
  "kind = \"algorithm\"\nname = \"frozen\"\ninterface = \"algorithm/1\"\nsummary = \"Nothing.\"\n"

template <size_t kSize>
struct Note {
  uint32_t owner_size, size, type;
  char owner[8];
  char text[(kSize + 3) / 4 * 4];
};
#define NOTE [[gnu::used, gnu::retain, gnu::section(".note.swage"), gnu::aligned(4)]] const
NOTE Note<sizeof(SWAGE_FINGERPRINT)> fingerprint_note = {6, sizeof(SWAGE_FINGERPRINT), 1, "SWAGE",
                                                         SWAGE_FINGERPRINT};
NOTE Note<sizeof(MANIFEST)> manifest_note = {6, sizeof(MANIFEST), 2, "SWAGE", MANIFEST};

}  // namespace

extern "C" __attribute__((visibility("default"))) const swage_plugin* swage_plugin_v1(
    const swage_host_info* host) {
  return host->struct_size >= sizeof(swage_host_info) && host->abi_major == SWAGE_ABI_MAJOR
             ? &plugin
             : nullptr;
}
