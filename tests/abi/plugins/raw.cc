// A plugin whose notes are right and whose code is wrong in the way that RAW_CASE names.
#include "swage/descriptor.h"

#ifndef RAW_INTERFACE
#define RAW_INTERFACE "algorithm/2"
#endif
#define RAW_MANIFEST                                                                \
  "id = \"raw\"\nversion = \"1.0.0\"\nsummary = \"Wrong inside.\"\n[[component]]\n" \
  "kind = \"algorithm\"\nname = \"raw\"\ninterface = \"" RAW_INTERFACE              \
  "\"\nsummary = \"Nothing.\"\n"

namespace {

enum Case {
  kNull,
  kMinor,
  kOlderMinor,
  kMajor,
  kId,
  kVersion,
  kFingerprint,
  kNoCreate,
  kMakesNothing,
  kNoMessage
};

SWAGE_FINGERPRINT_NOTE_(raw_fingerprint);
SWAGE_MANIFEST_NOTE_(manifest_note, RAW_MANIFEST);

int32_t create(const swage_create_args*, void**, swage_error*) {
  return RAW_CASE == kNoMessage ? 13 : 0;
}
void destroy(void*) {}

const swage_component component = {sizeof(swage_component),
                                   "algorithm",
                                   "raw",
                                   RAW_INTERFACE,
                                   RAW_CASE == kNoCreate ? nullptr : create,
                                   destroy};
const swage_component* const components[] = {&component};
const swage_plugin plugin = {sizeof(swage_plugin),
                             RAW_CASE == kMajor ? SWAGE_ABI_MAJOR + 1 : SWAGE_ABI_MAJOR,
                             RAW_CASE == kMinor        ? SWAGE_ABI_MINOR + 1
                             : RAW_CASE == kOlderMinor ? SWAGE_ABI_MINOR - 1
                                                       : SWAGE_ABI_MINOR,
                             RAW_CASE == kFingerprint ? "swage=1.0" : raw_fingerprint.bytes,
                             RAW_CASE == kId ? "other" : "raw",
                             RAW_CASE == kVersion ? "2.0.0" : "1.0.0",
                             components,
                             1,
                             nullptr};

}  // namespace

#ifndef RAW_NO_SYMBOL
extern "C" __attribute__((visibility("default"))) const swage_plugin* swage_plugin_v1(
    const swage_host_info*) {
  return RAW_CASE == kNull ? nullptr : &plugin;
}
#endif
