// swage-manifest MANIFEST OUTPUT CUDA: reads a plugin's manifest as the catalog will, and writes
// the source file that carries it into the plugin. What a host would refuse stops the build.
#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/catalog/manifest.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr int64_t kMaxManifestBytes = 1 << 20;
constexpr const char* kDelimiter = ")swage\"";  // ends the raw string that the manifest becomes

absl::StatusOr<std::string> descriptor(const std::string& path, const std::string& cuda) {
  SWAGE_ASSIGN_OR_RETURN(const std::string text, io::read_file(path, kMaxManifestBytes));
  SWAGE_ASSIGN_OR_RETURN(const Manifest manifest, parse_manifest(text, path));
  if (const std::string reason = interface_difference(manifest); !reason.empty())
    return absl::FailedPreconditionError(absl::StrCat(path, ": ", reason));
  if (text.find(kDelimiter) != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the sequence ", kDelimiter, " cannot stand in a manifest"));
  }
  return absl::StrCat("// Made by swage_add_plugin() of a manifest.\n#define SWAGE_CUDA_VERSION \"",
                      cuda, "\"\n#include \"swage/descriptor.h\"\n\nSWAGE_PLUGIN_DESCRIPTOR(\"",
                      manifest.id, "\", \"", manifest.version, "\", R\"swage(", text, kDelimiter,
                      ");\n");
}

absl::Status write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text << std::flush;
  return file ? absl::OkStatus() : absl::DataLossError(absl::StrCat(path, ": cannot be written"));
}

}  // namespace
}  // namespace swage

int main(int argc, char** argv) {
  if (argc != 4) return std::fputs("usage: swage-manifest MANIFEST OUTPUT CUDA\n", stderr), 2;
  const auto text = swage::descriptor(argv[1], argv[3]);
  const absl::Status status = text.ok() ? swage::write(argv[2], *text) : text.status();
  if (status.ok()) return 0;
  return std::fprintf(stderr, "%s\n", std::string(status.message()).c_str()), 1;
}
