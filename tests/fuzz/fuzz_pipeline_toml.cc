#include <cstdint>
#include <string_view>

#include "core/config/toml_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  absl::StatusOr<swage::Document> document = swage::parse_toml(text, "input.toml");
  if (document.ok()) {
    // The first line serves as a --set as well.
    swage::apply_set(std::string(text.substr(0, text.find('\n'))), &*document).IgnoreError();
  }
  return 0;
}
